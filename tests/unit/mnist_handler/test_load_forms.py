"""docs/handler.md, "Where the model comes from": each handler there loads its kind of file and answers as the model."""

from __future__ import annotations

import re
import shutil
import sys
from pathlib import Path
from typing import Any, Dict, Iterator, List, Type

import numpy as np
import pytest
import torch
from torch import nn

from kserve_wrapper.archiver import ask as ask_archive
from mnist_handler import RowHandler
from tests.unit.mnist_handler.conftest import start
from tests.unit.mnist_handler.helpers import ask_one, v1

ROOT = Path(__file__).resolve().parents[3]
NET = """
from torch import nn

class Net(nn.Linear):
    def __init__(self):
        super().__init__(4, 3)

class Head(nn.Linear):
    def __init__(self):
        super().__init__(3, 2)
"""
ROWS = [[1.0, 2.0, 3.0, 4.0], [-4.0, 3.0, -2.0, 1.0], [0.0, 0.0, 9.0, 0.0]]


def written(name: str) -> Type[RowHandler]:
    """The handler of that name as the document has it."""
    text = (ROOT / "docs" / "handler.md").read_text(encoding="utf-8")
    section = text.split("### Where the model comes from")[1]
    (block,) = (one for one in re.findall(r"```python\n(.*?)```", section, re.DOTALL) if f"class {name}(" in one)
    # A module of its own, so that it counts as a subclass from outside of the package.
    space: Dict[str, Any] = {"__name__": "theirs"}
    exec(compile(block, name, "exec"), space)
    kind: Type[RowHandler] = space[name]
    return kind


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    (tmp_path / "net.py").write_text(NET)
    monkeypatch.syspath_prepend(str(tmp_path))
    torch.manual_seed(0)
    yield tmp_path
    sys.modules.pop("net", None)


def classes(folder: Path, kind: Type[RowHandler]) -> List[int]:
    handler = start(folder, {"max_batch_size": 4, "compile": "none"}, kind, model_file="", weights=None)
    found: List[int] = np.asarray(ask_one(handler, v1(*ROWS)).outputs["predict"]).tolist()
    return found


def test_safetensors(folder: Path) -> None:
    save = pytest.importorskip("safetensors.torch", reason="needs the package safetensors")
    net = nn.Linear(4, 3)
    save.save_file(net.state_dict(), folder / "model.safetensors")
    assert classes(folder, written("FromSafetensors")) == net(torch.tensor(ROWS)).argmax(1).tolist()


def test_onnx_runtime(folder: Path) -> None:
    pytest.importorskip("onnxruntime", reason="needs the packages onnxruntime and onnx")
    onnx = pytest.importorskip("onnx", reason="needs the packages onnxruntime and onnx")
    net = nn.Linear(4, 3)
    value, helper = onnx.TensorProto.FLOAT, onnx.helper
    weights = [
        onnx.numpy_helper.from_array(net.weight.detach().numpy(), "w"),
        onnx.numpy_helper.from_array(net.bias.detach().numpy(), "b"),
    ]
    graph = helper.make_graph(
        [helper.make_node("Gemm", ["rows", "w", "b"], ["scores"], transB=1)],
        "net",
        [helper.make_tensor_value_info("rows", value, ["batch", 4])],
        [helper.make_tensor_value_info("scores", value, ["batch", 3])],
        weights,
    )
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=9)
    onnx.save(model, folder / "model.onnx")
    assert classes(folder, written("FromOnnx")) == net(torch.tensor(ROWS)).argmax(1).tolist()


def test_a_hugging_face_directory(folder: Path) -> None:
    transformers = pytest.importorskip("transformers", reason="needs the package transformers")
    words = ["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]", "good", "bad", "film"]
    (folder / "vocab.txt").write_text("\n".join(words))
    config = transformers.BertConfig(
        vocab_size=len(words), hidden_size=8, num_hidden_layers=1, num_attention_heads=2, intermediate_size=16
    )
    network = transformers.BertForSequenceClassification(config).eval()
    network.save_pretrained(folder)
    tokenizer = transformers.BertTokenizerFast(str(folder / "vocab.txt"))
    tokenizer.save_pretrained(folder)
    handler = start(folder, {}, written("FromHuggingFace"), model_file="", weights=None)
    texts = ["good film", "bad", "good good bad film film"]
    answer = np.asarray(ask_one(handler, v1(*texts)).outputs["logits"])
    for text, logits in zip(texts, answer):
        with torch.no_grad():
            wanted = network(**tokenizer(text, return_tensors="pt")).logits[0]
        np.testing.assert_allclose(logits, wanted.numpy(), atol=1e-5)


def test_an_exported_program(folder: Path) -> None:
    net = nn.Linear(4, 3)
    batch = torch.export.Dim("batch")
    program = torch.export.export(net, (torch.zeros(2, 4),), dynamic_shapes=({0: batch},))
    torch.export.save(program, folder / "model.pt2")
    assert classes(folder, written("FromExport")) == net(torch.tensor(ROWS)).argmax(1).tolist()


def test_several_files(folder: Path) -> None:
    net, head = nn.Linear(4, 3), nn.Linear(3, 2)
    torch.save(net.state_dict(), folder / "net.pt")
    torch.save(head.state_dict(), folder / "head.pt")
    assert classes(folder, written("FromSeveralFiles")) == head(net(torch.tensor(ROWS))).argmax(1).tolist()


def test_a_class_of_several_is_named_in_mar_json(tmp_path: Path) -> None:
    """Built, loaded and asked as TorchServe does it."""
    place = tmp_path / "several"
    place.mkdir()
    (place / "net.py").write_text(NET)
    (place / "several_handler.py").write_text(
        "from mnist_handler import InputSpec, RowHandler\n\n\n"
        'class Several(RowHandler):\n    inputs = (InputSpec("rows", "FP32", (4,)),)\n'
    )
    net = nn.Linear(4, 3)
    torch.save(net.state_dict(), place / "net.pt")
    shutil.copytree(ROOT / "mnist_handler", place / "mnist_handler", ignore=shutil.ignore_patterns("__pycache__"))
    (place / "mar.json").write_text(
        '{"version": "1.0", "handler": "several_handler.py", "model_file": "net.py", "model_class": "Net", '
        '"serialized_file": "net.pt", "packages": ["mnist_handler"], "compile_ahead": "no"}'
    )
    (told,) = ask_archive(place, {"instances": ROWS})
    assert told == (200, {"predictions": net(torch.tensor(ROWS)).argmax(1).tolist()})
