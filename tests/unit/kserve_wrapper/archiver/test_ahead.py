"""An archive's model is compiled when it is built, by the handler itself, and a process like TorchServe's runs it."""

from __future__ import annotations

import json
import sys
import warnings
import zipfile
from pathlib import Path
from typing import Any, List

import pytest
import torch

from kserve_wrapper.archiver import BuildError, ahead, build
from kserve_wrapper.commands import build as command
from kserve_wrapper.modelstore import trial
from kserve_wrapper.torchserve import archive as archives

# TorchServe leaves a file open while it is imported; that warning is not ours to fix.
with warnings.catch_warnings():
    warnings.simplefilter("ignore")
    from mnist_handler.compute import package, processor
    from mnist_handler.compute.ahead import NotCompiled, check_can_compile

HANDLER = """
from mnist_handler import InputSpec, RowHandler


class Rule(RowHandler):
    inputs = (InputSpec("a", "FP32", (2,)),)
    classifies = False

    def initialize(self, context):
        super().initialize(context)
        self.rule = self.config
"""
MODEL = """
from torch import nn


class Rule(nn.Module):
    def __init__(self):
        super().__init__()
        self.one, self.two = nn.Linear(2, 8), nn.Linear(8, 1)

    def forward(self, a):
        return self.two(self.one(a).relu())
"""


@pytest.fixture
def rule(tmp_path: Path) -> Path:
    """A model's folder."""
    folder = tmp_path / "rule"
    folder.mkdir()
    (folder / "rule_handler.py").write_text(HANDLER)
    (folder / "rule.py").write_text(MODEL)
    shapes = {"one.weight": (8, 2), "one.bias": (8,), "two.weight": (1, 8), "two.bias": (1,)}
    torch.save({name: torch.ones(shape) for name, shape in shapes.items()}, folder / "rule.pt")
    described = {"version": "1.0", "handler": "rule_handler.py", "model_file": "rule.py", "serialized_file": "rule.pt"}
    (folder / "mar.json").write_text(json.dumps({**described, "packages": ["mnist_handler"]}))
    return folder


def packed(mar: Path) -> List[str]:
    with zipfile.ZipFile(mar) as archive:
        return archive.namelist()


def test_the_two_packages_mean_the_same() -> None:
    assert ahead.PACKAGE == package.NAME
    assert (ahead.BASELINE, ahead.NATIVE) == processor.INSTRUCTIONS
    assert command.parser().parse_args(["folder"]).instructions == ahead.BASELINE


def test_a_built_archive_is_compiled_and_runs_so(rule: Path, tmp_path: Path, capfd: pytest.CaptureFixture[str]) -> None:
    try:
        check_can_compile(ahead.BASELINE)
    except NotCompiled as error:
        pytest.skip(f"nothing is compiled here: {error}")
    mar = build(rule, tmp_path / "out", instructions=ahead.BASELINE)
    assert "compiled ahead for x86-64-v3 in" in capfd.readouterr().err
    assert ahead.PACKAGE in packed(mar)
    ran = trial.run(archives.read(mar))
    assert ran.loaded
    assert any("Rule on cpu" in line and line.endswith("ahead") for line in ran.printed), ran.printed


def test_without_a_compiler_the_archive_is_built_without(
    rule: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("CXX", "no-such-compiler")
    mar = build(rule, tmp_path / "out", instructions=ahead.BASELINE)
    (line,) = [line for line in capfd.readouterr().err.splitlines() if line.startswith("build: ")]
    assert line.startswith("build: not compiled ahead: ")
    if check_torch():
        assert "there is no C++ compiler (no-such-compiler)" in line
    assert ahead.PACKAGE not in packed(mar)


def test_a_model_may_say_that_it_is_not_to_be(rule: Path, tmp_path: Path, capfd: pytest.CaptureFixture[str]) -> None:
    described = json.loads((rule / "mar.json").read_text())
    (rule / "mar.json").write_text(json.dumps({**described, "compile_ahead": "no"}))
    mar = build(rule, tmp_path / "out", instructions=ahead.BASELINE)
    assert "compiled" not in capfd.readouterr().err
    assert ahead.PACKAGE not in packed(mar)


def check_torch() -> bool:
    return tuple(map(int, package.release().split(".")[:2])) >= (2, 6) and sys.platform == "linux"


def test_a_handler_that_cannot_be_loaded_here_is_no_hindrance(
    rule: Path, tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    (rule / "rule_handler.py").write_text("import a_package_of_the_image\n" + HANDLER)
    mar = build(rule, tmp_path / "out", instructions=ahead.BASELINE)
    assert "not compiled ahead: ModuleNotFoundError" in capfd.readouterr().err
    assert ahead.PACKAGE not in packed(mar)


def test_answers_that_differ_end_the_build(rule: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def differs(*_: Any) -> Any:
        return {"mismatch": "on 3 rows it answers otherwise"}

    monkeypatch.setattr(ahead, "_compile", differs)
    with pytest.raises(BuildError, match="does not answer as eager: on 3 rows it answers otherwise"):
        build(rule, tmp_path / "out", instructions=ahead.BASELINE)
    assert not (tmp_path / "out" / "rule.mar").exists()


def test_other_handlers_are_left_alone(rule: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(*_: Any) -> Any:
        raise AssertionError("a process was started")

    monkeypatch.setattr(ahead, "_compile", refuse)
    (rule / "mar.json").write_text(
        json.dumps({"version": "1.0", "handler": "base_handler", "serialized_file": "rule.pt"})
    )
    assert ahead.PACKAGE not in packed(build(rule, tmp_path / "out", instructions=ahead.BASELINE))
    assert ahead.PACKAGE not in packed(build(rule, tmp_path / "out"))
