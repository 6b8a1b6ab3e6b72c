"""A device that is none: tensors claim to lie on it, and the CPU computes for them.

What torch checks on a GPU is checked here: tensors of two devices do not mix, and a tensor there has no NumPy array.
Operators' own errors, streams and times are not a simulation's to show.

It changes torch for the whole process, so it runs as a program::

    python -m tests.unit.mnist_handler.compute.simulated_gpu cuda|other

``cuda`` claims to be CUDA, and predicts; ``other`` is a device of torch's kind "privateuseone", since gradients on CUDA
need a driver, and explains. Prints JSON: by precision, batch or method, how far each output is from the CPU's at most,
and how many tensors travelled for a batch.
"""

from __future__ import annotations

import json
import sys
import tempfile
from pathlib import Path
from typing import Any, Callable, Counter, Dict, List, Mapping, Sequence, Tuple, Type

import numpy as np
import torch
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_leaves, tree_map

from mnist_handler import MNISTDigitClassifier, RowHandler, handler
from mnist_handler.explain.attributions import COMPLETE, method_settings
from mnist_handler.inputs import spec
from tests.unit.mnist_handler.conftest import SAMPLE, copy_archive, start
from tests.unit.mnist_handler.helpers import ask, ask_one, v2

#: These may take tensors of two devices.
_BETWEEN = ("aten::copy_", "aten::_to_copy")


class Remote(torch.Tensor):
    """A tensor of the simulated device; ``held`` has its values."""

    held: torch.Tensor
    #: Where they all claim to lie.
    place: torch.device

    __torch_function__ = torch._C._disabled_torch_function_impl  # type: ignore[assignment]

    @staticmethod
    def __new__(cls: Type[Remote], held: torch.Tensor) -> Remote:
        remote: Remote = torch.Tensor._make_wrapper_subclass(  # type: ignore[attr-defined]
            cls,
            held.shape,
            strides=held.stride(),
            storage_offset=held.storage_offset(),
            dtype=held.dtype,
            device=cls.place,
        )
        remote.held = held
        return remote

    def __tensor_flatten__(self) -> Tuple[List[str], None]:
        return ["held"], None

    @staticmethod
    def __tensor_unflatten__(inner: Mapping[str, torch.Tensor], *_: Any) -> Remote:
        return Remote(inner["held"])

    @classmethod
    def __torch_dispatch__(cls, operator: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        return call(operator, args, kwargs or {})


class Simulation(TorchDispatchMode):
    """Sees the operators that take no tensor of the device, but may make one."""

    def __torch_dispatch__(self, operator: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        return call(operator, args, kwargs or {})


#: How many tensors went to the device and came from it.
travels: Counter[str] = Counter()


def call(operator: Any, args: Any, kwargs: Dict[str, Any]) -> Any:
    """Run an operator on the CPU; its results lie on the device if its tensors do, or if it says so."""
    tensors = [leaf for leaf in tree_leaves((args, kwargs)) if isinstance(leaf, torch.Tensor)]
    remote = {id(tensor.held): tensor for tensor in tensors if isinstance(tensor, Remote)}
    local = [tensor for tensor in tensors if not isinstance(tensor, Remote) and tensor.dim()]
    if remote and local and operator.name() not in _BETWEEN:
        raise RuntimeError(f"{operator.name()}: tensors of two devices")
    asked = kwargs.get("device")
    there = bool(remote) if asked is None else torch.device(asked).type == Remote.place.type
    if operator.name() == "aten::_to_copy" and there is not bool(remote):
        travels["to" if there else "from"] += 1
    results = _on_cpu(operator)(*tree_map(_local, args), **_plain(tree_map(_local, kwargs)))
    if not there:
        return results
    return tree_map(lambda one: remote[id(one)] if id(one) in remote else _remote(one), results)


def _local(value: Any) -> Any:
    if isinstance(value, Remote):
        return value.held
    return torch.device("cpu") if isinstance(value, torch.device) else value


def _remote(value: Any) -> Any:
    return Remote(value) if isinstance(value, torch.Tensor) else value


def _plain(kwargs: Dict[str, Any]) -> Dict[str, Any]:
    return {**kwargs, "pin_memory": False} if kwargs.get("pin_memory") else kwargs


def _on_cpu(operator: Any) -> Callable[..., Any]:
    if operator.name() != "aten::cudnn_batch_norm":
        return operator  # type: ignore[no-any-return]
    return lambda *args: (*torch.ops.aten.native_batch_norm(*args), torch.empty(0))


def become_cuda() -> None:
    """The device is CUDA's first."""
    Remote.place = torch.device("cuda", 0)
    torch._C._ensureCUDADeviceGuardSet()  # type: ignore[attr-defined]
    for name, value in {"is_available": True, "is_bf16_supported": True}.items():
        setattr(torch.cuda, name, lambda *_, value=value, **__: value)
    for name in ("_lazy_init", "set_device", "synchronize", "empty_cache"):
        setattr(torch.cuda, name, lambda *_: None)


def become_other() -> None:
    """The device is one of another maker."""
    from torch.utils.backend_registration import _setup_privateuseone_for_python_backend

    _setup_privateuseone_for_python_backend("other")
    Remote.place = torch.device("other", 0)
    handler.pick_device = lambda gpu: torch.device("cpu") if gpu is None else Remote.place
    handler.stack = lambda chunks, there: spec.stack(chunks, torch.device("cpu")).to(there)


def distances(got: Sequence[Any], wanted: Sequence[Any]) -> Dict[str, float]:
    """By output, the greatest difference of its numbers in any of the answers."""
    greatest: Dict[str, float] = {}
    for one, other in zip(got, wanted):
        assert one.outputs.keys() == other.outputs.keys()
        for name, values in one.outputs.items():
            difference = float(np.abs(np.asarray(values) - np.asarray(other.outputs[name])).max())
            greatest[name] = max(difference, greatest.get(name, 0.0))
    return greatest


#: MNIST's last convolution.
LAYER = {"explain_layer": "features.7"}


class Predictor(MNISTDigitClassifier):
    explainable = False


def predict(archive: Path, on_cpu: RowHandler, digits: np.ndarray[Any, Any]) -> Dict[str, Any]:
    found: Dict[str, Any] = {}
    for precision in ("fp32", "bf16", "fp16"):
        config = {"precision": precision, "compile": "none", "max_batch_size": 16}
        there = start(archive, config, Predictor, gpu=0)
        assert there.device == Remote.place
        request = v2(digits[:40], probabilities=True)
        found[precision] = distances([ask_one(there, request)], [ask_one(on_cpu, request)])
    plain = [v2(digits[:3]), v2(digits[3:8]), v2(digits[8:9])]
    unit = (digits[:3] / 255).astype(np.float32)
    mixed = [v2(digits[3:8]), v2(unit), v2((unit - 0.1307) / 0.3081, normalized=True)]
    for name, batch in (("plain", plain), ("mixed", mixed)):
        travels.clear()
        found[name] = distances(ask(there, *batch), ask(on_cpu, *batch))
        found[f"{name} travels"] = dict(travels)
    return found


def explain(archive: Path, on_cpu: RowHandler, digits: np.ndarray[Any, Any]) -> Dict[str, Any]:
    there = start(archive, {"compile": "none", **LAYER}, gpu=0)
    assert there.device == Remote.place
    found = {}
    for method in method_settings((1, 28, 28)):
        request = v2(digits[:5], explain=True, method=method, convergence_delta=method in COMPLETE)
        found[method] = distances([ask_one(there, request)], [ask_one(on_cpu, request)])
    return found


def main(kind: str) -> None:
    with tempfile.TemporaryDirectory() as folder, np.load(SAMPLE) as sample:
        archive, digits = copy_archive(Path(folder)), np.asarray(sample["images"])[:, None]
        become, run = {"cuda": (become_cuda, predict), "other": (become_other, explain)}[kind]
        become()
        on_cpu = start(archive, LAYER)
        # Inference mode keeps no versions, which views of such tensors need.
        torch.inference_mode = torch.no_grad  # type: ignore[assignment, misc]
        torch._C._set_only_lift_cpu_tensors(True)  # type: ignore[attr-defined]
        with Simulation():
            print(json.dumps(run(archive, on_cpu, digits)))


if __name__ == "__main__":
    main(sys.argv[1])
