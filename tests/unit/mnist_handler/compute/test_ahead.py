"""A real model, compiled once, in the worker's hands: any number of rows, any length, answers as eager's."""

from __future__ import annotations

import dataclasses
import logging
import os
import shutil
import subprocess
import sys
import zipfile
from contextlib import nullcontext
from pathlib import Path
from typing import Any, Callable, Dict, List, Optional

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import nn

from mnist_handler import InputSpec, RowHandler
from mnist_handler.compute import ahead, package
from mnist_handler.compute.ahead import NotCompiled, check_can_compile, compile_ahead
from mnist_handler.compute.processor import BASELINE
from mnist_handler.compute.verify import Mismatch, arguments
from tests.unit.mnist_handler.conftest import ROOT, make_context, start
from tests.unit.mnist_handler.helpers import ask_one, v1

try:
    check_can_compile(BASELINE)
    WHY = ""
except NotCompiled as error:
    WHY = f"nothing is compiled here: {error}"
needs_compiler = pytest.mark.skipif(bool(WHY), reason=WHY)

MODEL = """
import torch
from torch import nn


class Words(nn.Module):
    def __init__(self):
        super().__init__()
        self.words, self.last = nn.Embedding(10, 16), nn.Linear(16, 3)

    def forward(self, ids, mask):
        weights = mask.unsqueeze(-1).float()
        return self.last((torch.tanh(self.words(ids)) * weights).sum(1) / weights.sum(1))
"""


class Words(RowHandler):
    inputs = (InputSpec("ids", "INT64", (-1,), low=0, high=9, pad=0, buckets=(4, 16, 40), companion="mask"),)
    classifies = False


def weights(seed: int) -> dict[str, torch.Tensor]:
    generator = torch.Generator().manual_seed(seed)
    shapes = {"words.weight": (10, 16), "last.weight": (3, 16), "last.bias": (3,)}
    return {name: torch.randn(shape, generator=generator) for name, shape in shapes.items()}


def serve(folder: Path, compile: str = "auto") -> RowHandler:
    return start(folder, {"max_batch_size": 16, "compile": compile}, Words, model_file="words.py", weights="words.pt")


@pytest.fixture(scope="module")
def built(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """An unpacked archive with a model compiled ahead."""
    folder = tmp_path_factory.mktemp("words")
    (folder / "words.py").write_text(MODEL)
    torch.save(weights(0), folder / "words.pt")
    context = make_context(folder, {}, model_file="words.py", weights="words.pt")
    Words().compile_ahead(context, folder / package.NAME, BASELINE)
    return folder


@pytest.fixture(scope="module")
def handler(built: Path) -> RowHandler:
    return serve(built)


@pytest.fixture(scope="module")
def eager(built: Path) -> RowHandler:
    return serve(built, "none")


@needs_compiler
@settings(max_examples=60)
@given(rows=st.lists(st.lists(st.integers(0, 9), min_size=1, max_size=40), min_size=1, max_size=40))
def test_ragged_rows_have_eagers_answers(handler: RowHandler, eager: RowHandler, rows: List[List[int]]) -> None:
    assert handler._mode == "ahead"
    answers = [np.asarray(ask_one(one, v1(*rows)).outputs["predict"]) for one in (handler, eager)]
    np.testing.assert_allclose(*answers, rtol=1e-4, atol=1e-5)


@needs_compiler
def test_the_code_keeps_to_the_baseline_and_fixes_no_threads(built: Path, tmp_path: Path) -> None:
    told = package.read(built / package.NAME)
    assert (told.instructions, told.threads, told.device) == (BASELINE, "any", "cpu")
    assert told.inputs == (("int64", (-1,)), ("int64", (-1,)))
    with zipfile.ZipFile(built / package.NAME) as packed:
        packed.extractall(tmp_path)
    sources = [path.read_text() for path in tmp_path.rglob("*.kernel.cpp")]
    assert sources
    assert all("num_threads(" not in text for text in sources)
    if shutil.which("objdump") is None:
        pytest.skip("there is no objdump to read the machine code with")
    (code,) = tmp_path.rglob("*.so")
    assembly = subprocess.run(["objdump", "-d", str(code)], capture_output=True, text=True, check=True).stdout
    assert "%ymm" in assembly, "AVX2 is used"
    assert "%zmm" not in assembly, "AVX-512 is not"


@needs_compiler
def test_inputs_of_another_layout_are_turned_and_others_refused(built: Path, eager: RowHandler) -> None:
    forward = package.load(built / package.NAME, torch.device("cpu"), "fp32", eager.model)
    ids = torch.randint(0, 10, (5, 3), generator=torch.Generator().manual_seed(1))
    mask = torch.ones_like(ids)
    turned = ids.t().contiguous().t()
    assert not turned.is_contiguous()
    with torch.inference_mode():
        torch.testing.assert_close(forward(turned, mask), forward(ids, mask))
        for wrong in ([ids], [ids.int(), mask], [ids.unsqueeze(-1), mask]):
            with pytest.raises(ValueError, match="the compiled model takes"):
                forward(*wrong)


@needs_compiler
def test_loading_needs_no_compiler(built: Path) -> None:
    """In a process of its own, without a PATH, and without torch's own compiler."""
    script = (
        "import sys, torch; from pathlib import Path; from mnist_handler.compute import package; "
        "from mnist_handler.compute.loading import load_model; "
        f"folder = Path({str(built)!r}); entry = dict(modelFile='words.py', serializedFile='words.pt'); "
        "model = load_model(folder, dict(model=entry), torch.device('cpu')); "
        "forward = package.load(folder / 'compiled.pt2', torch.device('cpu'), 'fp32', model); "
        "ids = torch.ones(2, 3, dtype=torch.int64); print(list(forward(ids, ids).shape)); "
        "print('torch._inductor.compile_fx' in sys.modules)"
    )
    environment = {**os.environ, "PATH": "", "PYTHONPATH": str(ROOT)}
    done = subprocess.run(
        [sys.executable, "-W", "ignore", "-c", script], env=environment, capture_output=True, text=True
    )
    assert done.stdout.split("\n")[:2] == ["[2, 3]", "False"], done.stderr


@needs_compiler
def test_the_package_uses_the_archives_weights(built: Path, tmp_path: Path) -> None:
    """So it is small, and no second copy of them in memory. Tensors of a few values are written into the code."""
    assert not package.read(built / package.NAME).weights
    shutil.copytree(built, tmp_path, dirs_exist_ok=True)
    torch.save({**weights(1), "last.bias": weights(0)["last.bias"]}, tmp_path / "words.pt")
    handler = serve(tmp_path)
    assert handler._mode == "ahead"
    answers = [ask_one(one, v1([1, 2, 3])).outputs["predict"] for one in (handler, serve(tmp_path, "none"))]
    np.testing.assert_allclose(*answers, rtol=1e-4)


@needs_compiler
@pytest.mark.parametrize("other", ["weights", "model"])
def test_what_the_package_is_not_of_is_seen(
    other: str, built: Path, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    shutil.copytree(built, tmp_path, dirs_exist_ok=True)
    if other == "weights":
        torch.save(weights(1), tmp_path / "words.pt")
    else:
        (tmp_path / "words.py").write_text(MODEL.replace("torch.tanh", "torch.sin"))
    with caplog.at_level(logging.WARNING):
        handler = serve(tmp_path)
    (line,) = [record.getMessage() for record in caplog.records if package.NAME in record.getMessage()]
    assert "answers otherwise than eager" in line
    assert handler._mode != "ahead"
    answers = [ask_one(one, v1([1, 2, 3])).outputs["predict"] for one in (handler, serve(tmp_path, "none"))]
    np.testing.assert_allclose(*answers, rtol=1e-4)


@needs_compiler
def test_a_package_that_answers_otherwise_ends_the_build(built: Path, eager: RowHandler, tmp_path: Path) -> None:
    path = Path(shutil.copy(built / package.NAME, tmp_path))

    class Other(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.words, self.last = eager.model.words, eager.model.last

        def forward(self, ids: torch.Tensor, mask: torch.Tensor) -> torch.Tensor:
            scores: torch.Tensor = eager.model(ids, mask)
            return scores * 1.01

    other = Other()
    kinds = arguments(Words.inputs)
    with pytest.raises(Mismatch, match="answers otherwise than eager"):
        ahead._compare(other, kinds, eager.example, package.read(path), path, None)


@needs_compiler
@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({}, None),
        ({"high": None}, "input ids needs to be of integers with low and high"),
        ({"high": 10}, "does not take its inputs' high"),
        ({"low": -1}, "does not take its inputs' low"),
        ({"buckets": ()}, "input ids needs buckets"),
        ({"datatype": "FP32"}, "needs to be of integers"),
    ],
)
def test_no_request_may_reach_beyond_a_table(
    built: Path, eager: RowHandler, change: Dict[str, Any], message: Optional[str]
) -> None:
    """The compiled code would end the process, where eager gives an error."""
    assert ahead._looks_up(built / package.NAME)
    (spec,) = Words.inputs
    kinds = arguments([dataclasses.replace(spec, **change)])
    with nullcontext() if message is None else pytest.raises(NotCompiled, match=message):
        ahead._check_lookups(eager.model, kinds, eager.example, None)


@needs_compiler
def test_where_the_compiled_model_fails_eager_answers(handler: RowHandler, monkeypatch: pytest.MonkeyPatch) -> None:
    def fails(*_: Any) -> Any:
        raise RuntimeError("run_func_( ... ) API call failed")

    monkeypatch.setattr(package.Package, "__call__", fails)
    assert np.isfinite(ask_one(handler, v1([1, 2, 3])).outputs["predict"]).all()  # type: ignore[arg-type]


class Branches(nn.Module):
    def forward(self, a: torch.Tensor) -> torch.Tensor:
        return a * 2 if a.sum() > 0 else a * -3


class Named(nn.Module):
    def forward(self, a: torch.Tensor) -> Any:
        return {"a": a}


def example(rows: int, length: int = 1) -> List[torch.Tensor]:
    return [torch.zeros(rows, 3)]


@needs_compiler
@pytest.mark.filterwarnings("ignore:.*torch.jit")
@pytest.mark.parametrize(
    ("make", "message"),
    [
        (Branches, "torch.export does not take this model"),
        (Named, "gives a dict"),
        (lambda: torch.jit.script(nn.Linear(3, 3)), "TorchScript"),
    ],
)
def test_models_that_cannot_be_compiled_are_told(make: Callable[[], nn.Module], message: str, tmp_path: Path) -> None:
    with pytest.raises(NotCompiled, match=message):
        compile_ahead(make(), [InputSpec("a", "FP32", (3,))], example, tmp_path / package.NAME)
    assert not (tmp_path / package.NAME).exists()


def test_machines_that_cannot_compile_are_told(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(ahead, "release", lambda: "2.1.0")
    with pytest.raises(NotCompiled, match=r"torch 2\.1\.0 does not compile ahead"):
        check_can_compile(BASELINE)
    monkeypatch.setattr(ahead, "release", lambda: "2.12.0")
    monkeypatch.setattr(ahead, "lacking", lambda _: "avx2")
    with pytest.raises(NotCompiled, match="lacks avx2"):
        check_can_compile(BASELINE)
    monkeypatch.setattr(ahead, "lacking", lambda _: "")
    monkeypatch.setenv("CXX", "no-such-compiler")
    with pytest.raises(NotCompiled, match=r"there is no C\+\+ compiler \(no-such-compiler\)"):
        check_can_compile(BASELINE)
