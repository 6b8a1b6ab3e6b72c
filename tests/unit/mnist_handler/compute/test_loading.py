from __future__ import annotations

import json
import shutil
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from mnist_handler.compute.loading import LoadError, build_model, load_labels, load_model
from mnist_handler.config import ConfigError
from mnist_handler.mnist import MNISTDigitClassifier
from tests.unit.mnist_handler.conftest import copy_archive, start
from tests.unit.mnist_handler.helpers import ask_one, needs_torchscript, v2

CPU = torch.device("cpu")
LINEAR = "from torch import nn\nclass A(nn.Linear):\n    def __init__(self):\n        super().__init__(2, 3)\n"


def manifest(**files: str) -> Any:
    return {"model": files}


def test_weights_are_loaded(archive: Path) -> None:
    model = load_model(archive, manifest(modelFile="mnist.py", serializedFile="mnist_cnn.pt"), CPU)
    stored = torch.load(archive / "mnist_cnn.pt", weights_only=True)
    assert all(torch.equal(value, stored[name]) for name, value in model.state_dict().items())
    assert not model.training


@pytest.mark.filterwarnings("ignore:.*torch.jit:FutureWarning", "ignore:.*torch.jit:DeprecationWarning")
@pytest.mark.filterwarnings("ignore:.*TorchScript archive:UserWarning")
@pytest.mark.parametrize(
    ("files", "words"),
    [
        ({}, "neither a model file nor a serialized file"),
        ({"serializedFile": "x.pt"}, "lacks its weights, x.pt"),
        ({"modelFile": "x.py"}, "lacks its model file, x.py"),
        ({"modelFile": "two.py"}, "exactly one torch.nn.Module; found A, B"),
        ({"modelFile": "none.py"}, "exactly one torch.nn.Module; found none"),
        ({"modelFile": "one.py"}, "one.py but no weights for it"),
        ({"modelFile": "one.py", "serializedFile": "text.pt"}, "text.pt is not a state_dict"),
        (
            {"modelFile": "one.py", "serializedFile": "cut.pt"},
            "cut.pt is not a state_dict: torch.load cannot read it: ",
        ),
        (
            {"modelFile": "one.py", "serializedFile": "whole.pt"},
            "Linear, perhaps of a whole model. Save it by torch.save",
        ),
        ({"modelFile": "one.py", "serializedFile": "tensor.pt"}, "tensor.pt is not a state_dict: it holds Tensor"),
        ({"modelFile": "one.py", "serializedFile": "script.pt"}, "it is TorchScript. Pack it without a model file"),
        ({"modelFile": "one.py", "serializedFile": "other.pt"}, "other.pt does not fit A"),
    ],
)
def test_what_is_missing_is_named(files: Any, words: str, tmp_path: Path) -> None:
    """In one line, as a log has it."""
    (tmp_path / "one.py").write_text(LINEAR)
    (tmp_path / "two.py").write_text(LINEAR + "class B(A):\n    pass\n")
    (tmp_path / "none.py").write_text("from torch.nn import Linear\n")
    (tmp_path / "text.pt").write_text("no weights")
    torch.save({"weight": torch.zeros(1)}, tmp_path / "other.pt")
    torch.save({"weight": torch.zeros(999)}, tmp_path / "cut.pt")
    (tmp_path / "cut.pt").write_bytes((tmp_path / "cut.pt").read_bytes()[:1000])
    torch.save(torch.nn.Linear(1, 1), tmp_path / "whole.pt")
    torch.save(torch.zeros(1), tmp_path / "tensor.pt")
    torch.jit.save(torch.jit.trace(torch.nn.Linear(1, 1), torch.zeros(1, 1)), tmp_path / "script.pt")
    with pytest.raises(LoadError) as caught:
        load_model(tmp_path, manifest(**files), CPU)
    assert words in str(caught.value).partition("\n")[0]


def test_one_class_of_several_is_named(tmp_path: Path) -> None:
    (tmp_path / "two.py").write_text(LINEAR + "class Both(A):\n    pass\n")
    torch.save(torch.nn.Linear(2, 3).state_dict(), tmp_path / "w.pt")
    files = {"modelFile": "two.py", "serializedFile": "w.pt"}
    assert type(load_model(tmp_path, manifest(**files, modelClass="Both"), CPU)).__name__ == "Both"
    with pytest.raises(LoadError, match=r"two\.py defines no torch.nn.Module C, which .* names; found A, Both"):
        load_model(tmp_path, manifest(**files, modelClass="C"), CPU)
    with pytest.raises(LoadError, match=r"found A, Both: name the model in mar\.json, by model_class"):
        load_model(tmp_path, manifest(**files), CPU)


def test_code_in_weights_never_runs(tmp_path: Path) -> None:
    class Evil:
        def __reduce__(self) -> Any:
            return (Path.touch, (tmp_path / "ran",))

    (tmp_path / "one.py").write_text(LINEAR)
    torch.save(Evil(), tmp_path / "evil.pt")
    with pytest.raises(LoadError):
        load_model(tmp_path, manifest(modelFile="one.py", serializedFile="evil.pt"), CPU)
    assert not (tmp_path / "ran").exists()


# Since torch 2.14 a FutureWarning; it still runs, and archives that were traced years ago are still served.
@pytest.mark.filterwarnings("ignore:.*torch.jit:FutureWarning", "ignore:.*torch.jit:DeprecationWarning")
@pytest.mark.parametrize("frozen", [False, True])
def test_torchscript_is_served(frozen: bool, archive: Path, tmp_path: Path, digits: np.ndarray[Any, Any]) -> None:
    shutil.copy(archive / "mnist.py", tmp_path)
    script = torch.jit.trace(build_model(tmp_path / "mnist.py").eval(), torch.zeros(1, 1, 28, 28))
    torch.jit.save(torch.jit.freeze(script) if frozen else script, tmp_path / "script.pt")
    handler = start(tmp_path, {"max_batch_size": 2}, model_file="", weights="script.pt")
    assert handler.describe_handle()["platform"] == "pytorch_torchscript"
    assert handler.classes == 10
    assert handler._explanations is not None
    assert "deep_lift" not in handler._explanations.methods
    for method in handler._explanations.methods:
        explained = ask_one(handler, v2(digits[0], explain=True, method=method)).outputs["explain"]
        assert np.abs(explained).max() > 0


@pytest.mark.parametrize(
    ("mapping", "names"),
    [
        ({"0": "zero", "1": "one"}, ["zero", "one"]),
        ({"0": ["n01", "zero"], "1": ["n02", "one"]}, ["zero", "one"]),
        ({"object_type_names": ["zero", "one"]}, ["zero", "one"]),
    ],
)
def test_label_files(mapping: Any, names: Any, tmp_path: Path) -> None:
    path = tmp_path / "index_to_name.json"
    assert load_labels(path) is None
    path.write_text(json.dumps(mapping))
    assert load_labels(path) == names


@pytest.mark.parametrize("count", [9, 11])
def test_as_many_names_as_classes(count: int, tmp_path: Path) -> None:
    copy_archive(tmp_path)
    (tmp_path / "index_to_name.json").write_text(json.dumps({str(index): "name" for index in range(count)}))
    with pytest.raises(LoadError, match=f"has {count} names, the model 10 classes"):
        start(tmp_path, {"max_batch_size": 1, "compile": "none"})


@pytest.mark.parametrize("compiled", ["none", pytest.param("torchscript", marks=needs_torchscript)])
def test_rows_that_the_model_does_not_take(compiled: str, archive: Path) -> None:
    class Coloured(MNISTDigitClassifier):
        row_shape = (3, 28, 28)

    with pytest.raises(LoadError, match=r"does not take inputs of row_shape \(3, 28, 28\): "):
        start(archive, {"max_batch_size": 1, "compile": compiled}, Coloured)


@pytest.mark.parametrize("mapping", [["zero"], {"1": "one"}, {"0": 0}, {"0": []}])
def test_wrong_label_files(mapping: Any, tmp_path: Path) -> None:
    path = tmp_path / "index_to_name.json"
    path.write_text(json.dumps(mapping))
    with pytest.raises(ConfigError):
        load_labels(path)
