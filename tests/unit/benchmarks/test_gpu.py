"""The GPU benchmark's own code, run on the CPU."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path
from typing import Any, Dict, List, Tuple

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from benchmarks.gpu import command, cudatests, photographs, plan
from benchmarks.gpu.process import Process
from benchmarks.gpu.trace import covered
from benchmarks.reports.gpu import report
from tests.unit.mnist_handler.helpers import AUTO

ROOT = Path(__file__).resolve().parents[3]
#: Every kind of process but those that take long on two cores: packages, a network of ResNet-50's shape.
SELF_TEST = ["--device", "cpu", "--models", "mnist", "--batches", "1", "3", "--seconds", "0.01", "--budget", "900"]


def self_test(out: Path, *more: str) -> Tuple[Dict[str, Any], str]:
    """The result of a run on the CPU, and its report."""
    words = [sys.executable, "-m", "benchmarks", "gpu", *SELF_TEST, "--out", str(out), *more]
    done = subprocess.run(words, capture_output=True, text=True, cwd=ROOT)
    (path,) = out.glob("gpu-*.json")
    result: Dict[str, Any] = json.loads(path.read_text())
    assert done.returncode == (1 if command.failed(result) else 0), done.stderr
    return result, path.with_suffix(".md").read_text()


def test_stock_and_ours_are_timed_and_compared(tmp_path: Path) -> None:
    result, text = self_test(tmp_path, "--parts", "requests", "trace")
    assert command.failed(result) == []
    names = [entry["name"] for entry in result["entries"]]
    assert names == [
        "prepare", "requests mnist stock fp32", f"requests mnist {AUTO} fp32", f"requests mnist {AUTO} bf16",
        "trace mnist",
    ]  # fmt: skip
    for entry in result["entries"][1:4]:
        first, *timed, last = entry["lines"]
        assert first["distance"] < (0.05 if "bf16" in entry["name"] else 1e-4)
        assert [line["batch"] for line in timed] == [1, 3]
        assert all(0 < line["p50_ms"] <= line["p95_ms"] <= line["p99_ms"] for line in timed)
        assert last == {"most_mib": 0}
    (traced,) = result["entries"][4]["lines"]
    assert traced["idle"] is None
    assert traced["longest"]
    assert (tmp_path / "trace-mnist-3.json").exists()
    assert "A self-test on a CPU" in text
    assert text.count("| mnist | stock | eager | fp32 |") == 2
    assert text.count(f"| mnist | ours | {AUTO} | bf16 |") == 2


def test_the_budget_ends_the_run_and_says_what_it_left_out(tmp_path: Path) -> None:
    result, text = self_test(tmp_path, "--parts", "requests", "serving", "--budget", "7.5")
    assert [one["name"] for one in result["entries"]] == ["prepare"]
    assert {one["why"] for one in result["left_out"]} >= {"no time left"}
    assert "| requests mnist stock fp32 | no time left |" in text


def job(place: Path, **more: Any) -> Dict[str, Any]:
    return {"do": "predict", "device": "cpu", "place": str(place), "batches": [1], "seconds": 0.01, **more}


def test_a_failure_is_told_with_what_came_before_it(tmp_path: Path) -> None:
    # In a process of its own: importing TorchServe leaves a file open, which is a warning here.
    prepare = Process("prepare", job(tmp_path, do="prepare", models=["mnist"]), tmp_path)
    prepare.go()
    assert prepare.wait(120) == [{"prepared": "mnist"}]
    process = Process("p", job(tmp_path, **plan.setting("mnist", "cuda_graph", "fp32", [1])), tmp_path)
    process.go()
    (line,) = process.wait(120)
    assert "ConfigError: handler.compile: cuda_graph needs a GPU" in line["error"]


def test_a_process_that_dies_or_is_late_costs_itself_alone(tmp_path: Path) -> None:
    dead = Process("dead", {"do": "no such job"}, tmp_path)
    dead.go()
    assert "KeyError" in dead.wait(120)[-1]["error"] or "no such job" in dead.wait(0)[-1]["error"]
    late = Process("late", job(tmp_path), tmp_path)
    assert late.wait(0) == [{"error": "ended after 0 s"}]
    assert late.popen.returncode is not None


@given(st.lists(st.tuples(st.integers(0, 40), st.integers(0, 9))))
def test_covered_counts_each_moment_once(spans: List[Tuple[int, int]]) -> None:
    moments = {moment for start, length in spans for moment in range(start, start + length)}
    assert covered([(start, start + length) for start, length in spans]) == len(moments)


def test_what_pytest_said_is_read() -> None:
    text = (
        "tests/a.py::test_x[fp32-none] PASSED   [ 10%]\ntests/a.py::test_x[a b] FAILED [ 20%]\n"
        "tests/a.py::test_y SKIPPED (no CUDA device) [ 30%]\ntests/a.py::test_z "
    )
    found = cudatests.outcome(text, late=True, status=-9)
    assert (found["passed"], found["failed"], found["skipped"]) == (1, 1, 1)
    assert found["failures"] == ["tests/a.py::test_x[a b]"]
    assert found["end"]


def test_the_plan_begins_with_stock_beside_ours_and_names_each_setting_once() -> None:
    steps = plan.steps(command.MODELS, "cuda", [1, 8, 64, 256], 0.8)
    names = [step.name for step in steps]
    assert len(set(names)) == len(names)
    assert names[:4] == [f"requests {name} stock fp32" for name in command.MODELS] + [
        "requests resnet50 cuda_graph fp32"
    ]
    order = list(dict.fromkeys(step.part for step in steps))
    assert order == [part for part in plan.PARTS if part != "tests"]
    packaged = {step.job["package"] for step in steps if step.job.get("package")}
    assert packaged == {plan.package_file(*one) for one in plan.PACKAGES}
    assert all(step.job["device"] == "cpu" for step in steps if step.part == "cpu")


# torchvision hands its decoders over to another package; what is measured here is what it still has.
@pytest.mark.filterwarnings("ignore:The image decoding and encoding capabilities:DeprecationWarning")
def test_every_way_to_decode_gives_nearly_the_same_picture() -> None:
    file = photographs.photograph(0, 400, 300)
    exact = photographs.by_pillow(file, draft=False).astype(float)
    encoded = torch.frombuffer(bytearray(file), dtype=torch.uint8)
    for other in (photographs.by_pillow(file, draft=True), photographs.by_torchvision([encoded], "cpu")[0].numpy()):
        assert other.shape == exact.shape == (3, 224, 224)
        assert abs(other - exact).mean() < 2


def test_what_is_not_there_is_told_before_anything_runs(monkeypatch: pytest.MonkeyPatch, capsys: Any) -> None:
    monkeypatch.setattr(command, "NEEDED", {"no_such_module": "no-such-package"})
    with pytest.raises(SystemExit):
        command.main(["--device", "cpu"])
    assert "not installed: no-such-package; see benchmarks/gpu/wheels.txt" in capsys.readouterr().err


def test_a_run_that_was_cut_short_has_a_report(tmp_path: Path) -> None:
    from benchmarks import machine

    result = {"kind": "gpu", "machine": machine.describe(), "device": "cuda", "budget": 420.0, "tests": None}
    entry = {
        "part": "requests",
        "name": "requests mnist stock fp32",
        "setting": plan.setting("mnist", "stock", "", [1]),
    }
    lines = [{"load_s": 1.0, "float32": "TF32", "distance": 0.0}, {"error": "ended after 60 s"}]
    text = report({**result, "entries": [{**entry, "lines": lines}], "left_out": []}, tmp_path / "gpu.md")
    assert "| requests mnist stock fp32 | ended after 60 s |" in text


def test_an_older_result_is_told(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="an older kind of result: make its report with the code of eb45b0b"):
        report({"kind": "gpu", "machine": {"commit": "eb45b0b"}}, tmp_path / "gpu.md")


@pytest.mark.parametrize("words", ["--seconds 0", "--seconds nan", "--seconds 3600", "--budget -1", "--budget x"])
def test_times_are_some(words: str, capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit):
        command.main(["--device", "cpu", *words.split()])
    assert f"argument {words.split()[0]}" in capsys.readouterr().err
