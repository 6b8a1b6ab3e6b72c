"""What a package was built for is checked before any of its code is loaded. No compiler is needed here."""

from __future__ import annotations

import dataclasses
import json
import logging
import platform
import shutil
import zipfile
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch import nn

from mnist_handler.compute import package
from mnist_handler.compute.package import NAME, BuiltFor, Unfit
from mnist_handler.config import ConfigError
from tests.unit.mnist_handler.conftest import start
from tests.unit.mnist_handler.helpers import ask_one, labels, v2

CPU = torch.device("cpu")
HERE = BuiltFor(
    *(package.release(), platform.machine(), "x86-64-v3", (), "cpu", package.ANY_THREADS, "fp32"),
    inputs=(("float32", (1, 28, 28)),),
    several=False,
    layout=package.layout_of(nn.Identity()),
)


def packed(path: Path, *texts: str) -> Path:
    """A ZIP as torch packs one, with other metadata beside ours, and no code."""
    with zipfile.ZipFile(path, "w") as file:
        for number, text in enumerate(texts):
            told = {"AOTI_DEVICE_KEY": "cpu", **({package.KEY: text} if text else {})}
            file.writestr(f"model/data/aotinductor/model/{number}.wrapper_metadata.json", json.dumps(told))
        file.writestr("model/data/aotinductor/model/code.so", b"\x7fELF, and nothing behind it")
    return path


@pytest.fixture
def never_loaded(monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(*_: Any) -> None:
        raise AssertionError("code was loaded")

    aoti = getattr(torch._C, "_aoti", None)
    if aoti is not None:
        monkeypatch.setattr(aoti, "AOTIModelPackageLoader", refuse)


@given(
    st.builds(
        BuiltFor,
        needs=st.lists(st.text(max_size=8), max_size=4).map(tuple),
        inputs=st.lists(
            st.tuples(st.sampled_from(["float32", "int64"]), st.lists(st.integers(-1, 9), max_size=3).map(tuple)),
            max_size=3,
        ).map(tuple),
    )
)
def test_what_is_written_is_read(built: BuiltFor) -> None:
    assert package._built_for(json.loads(built.text())) == built


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"torch": "2.6.0"}, "built for torch 2.6.0, and here is"),
        ({"machine": "riscv64"}, "built for a machine riscv64"),
        ({"device": "cuda 9.0"}, "built for a device cuda 9.0, and here is cpu"),
        ({"precision": "bf16"}, "built for precision bf16, and here is fp32"),
        ({"needs": ("avx2048",)}, "this one lacks avx2048"),
        ({"threads": "977"}, "built for 977 threads"),
    ],
)
def test_another_place_is_refused_by_name(change: Any, message: str, tmp_path: Path, never_loaded: None) -> None:
    path = packed(tmp_path / NAME, dataclasses.replace(HERE, **change).text())
    with pytest.raises(Unfit, match=message):
        package.load(path, CPU, "fp32", nn.Identity())


@pytest.mark.parametrize("texts", [(), ("",), (HERE.text(), dataclasses.replace(HERE, torch="1").text())])
def test_a_package_that_does_not_say_is_refused(texts: Any, tmp_path: Path, never_loaded: None) -> None:
    with pytest.raises(Unfit, match="does not say what it was built for"):
        package.load(packed(tmp_path / NAME, *texts), CPU, "fp32", nn.Identity())


@pytest.mark.parametrize(
    "text", ["[]", "{}", "7", "no JSON", '{"inputs": [1]}', dataclasses.replace(HERE, inputs=(("load", ()),)).text()]
)
def test_metadata_of_another_form_are_refused(text: str, tmp_path: Path, never_loaded: None) -> None:
    with pytest.raises(Unfit, match="cannot be read"):
        package.load(packed(tmp_path / NAME, text), CPU, "fp32", nn.Identity())


def test_what_is_no_zip_is_refused(tmp_path: Path, never_loaded: None) -> None:
    (tmp_path / NAME).write_bytes(b"\x7fELF")
    with pytest.raises(Unfit, match="cannot be read"):
        package.read(tmp_path / NAME)


def test_weights_that_lie_otherwise_are_refused(tmp_path: Path, never_loaded: None) -> None:
    """The code has but their addresses."""
    path = packed(tmp_path / NAME, HERE.text())
    with pytest.raises(Unfit, match="it is of another model"):
        package.load(path, CPU, "fp32", nn.Linear(2, 2))
    layouts = [
        package.layout_of(one) for one in (nn.Linear(2, 2), nn.Linear(2, 2), nn.Linear(2, 3), nn.Conv2d(2, 2, 3))
    ]
    assert layouts[0] == layouts[1]
    turned = nn.Conv2d(2, 2, 3).to(memory_format=torch.channels_last)  # type: ignore[call-overload]
    assert len({*layouts, package.layout_of(turned)}) == 4


def test_code_that_does_not_load_is_no_crash(tmp_path: Path) -> None:
    with pytest.raises(Unfit, match="does not load"):
        package.load(packed(tmp_path / NAME, HERE.text()), CPU, "fp32", nn.Identity())


def test_the_worker_says_so_in_one_line_and_answers(
    archive: Path, digits: np.ndarray[Any, Any], tmp_path: Path, caplog: pytest.LogCaptureFixture, never_loaded: None
) -> None:
    shutil.copytree(archive, tmp_path, dirs_exist_ok=True)
    packed(tmp_path / NAME, dataclasses.replace(HERE, torch="2.6.0").text())
    with caplog.at_level(logging.WARNING):
        handler = start(tmp_path, {"max_batch_size": 2})
    (line,) = [record.getMessage() for record in caplog.records if NAME in record.getMessage()]
    assert "built for torch 2.6.0" in line
    assert f"runs compile: {handler._mode}" in line
    assert "\n" not in line
    plain = start(archive, {"compile": "none"})
    assert labels(ask_one(handler, v2(digits[:2]))) == labels(ask_one(plain, v2(digits[:2])))


@pytest.mark.parametrize("there", [False, True])
def test_what_is_set_and_cannot_be_ends_the_load(archive: Path, tmp_path: Path, there: bool) -> None:
    shutil.copytree(archive, tmp_path, dirs_exist_ok=True)
    if there:
        packed(tmp_path / NAME, dataclasses.replace(HERE, machine="riscv64").text())
    with pytest.raises(ConfigError, match="riscv64" if there else "the archive has no compiled.pt2"):
        start(tmp_path, {"compile": "ahead"})
