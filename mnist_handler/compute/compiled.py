"""An eager model made fast: TorchScript, Inductor or CUDA graphs, in the wanted precision."""

from __future__ import annotations

import contextlib
import copy
import logging
import os
import shutil
import warnings
from typing import Any, Callable, ContextManager, Dict, List, Sequence, Tuple

import torch
from torch import nn
from torch.jit._trace import TracerWarning

from mnist_handler.config import ConfigError

logger = logging.getLogger(__name__)

#: Takes the model's inputs (rows first), gives its scores as float32.
Forward = Callable[..., torch.Tensor]
_LOW = {"bf16": torch.bfloat16, "fp16": torch.float16}


def choose_mode(mode: str, precision: str, device: torch.device, fixed: bool) -> str:
    """Resolve ``auto`` and refuse what the device cannot do.

    Args:
        fixed: whether rows have one shape. Else each new length would be another graph, captured while a request
            waits, and kept for ever.

    Raises:
        ConfigError: fp16 on a CPU, CUDA graphs without a GPU or for rows of any length, Inductor on a GPU without a C
            compiler.
    """
    if device.type != "cuda":
        if precision == "fp16":
            raise ConfigError("handler.precision: fp16 needs a GPU; a CPU takes fp32 or bf16")
        if mode == "cuda_graph":
            raise ConfigError("handler.compile: cuda_graph needs a GPU; a CPU takes torchscript, inductor or none")
    if mode == "cuda_graph" and not fixed:
        raise ConfigError("handler.compile: cuda_graph needs rows of one shape, without -1; set none, or leave it out")
    if mode == "inductor" and device.type == "cuda" and not _has_compiler():
        raise ConfigError(
            "handler.compile: inductor needs a C compiler on a GPU (gcc, clang or what the environment's CC names), "
            "and there is none; set none, or leave it out"
        )
    if mode != "auto":
        return mode
    if device.type == "cuda":
        return "cuda_graph" if fixed else "none"
    return "torchscript"


def _has_compiler() -> bool:
    """Whether Triton, which Inductor writes its kernels in, finds what it compiles their launchers with."""
    names = [os.environ["CC"]] if "CC" in os.environ else ["gcc", "clang"]
    return any(shutil.which(name) for name in names)


def compile_model(
    model: nn.Module, mode: str, precision: str, device: torch.device, example: Sequence[torch.Tensor]
) -> List[Forward]:
    """Build the functions that may serve predictions; ``model`` itself stays as it is.

    Args:
        mode: none, torchscript, inductor or cuda_graph, see :func:`choose_mode`.
        example: inputs of two rows on the device.

    Returns:
        Equal functions, of which the engine takes the fastest for each batch size.
    """
    low = _LOW.get(precision)
    if low is not None and device.type == "cpu":
        model = copy.deepcopy(model).to(low)
        return [_cast(one, low) for one in _compile(model, mode, [_to(tensor, low) for tensor in example])]
    if low is not None:
        return [_autocast(one, device, low) for one in _compile(model, mode, example, _autocast_area(device, low))]
    return _compile(model, mode, example)


def _compile(
    model: nn.Module,
    mode: str,
    example: Sequence[torch.Tensor],
    area: Callable[[], ContextManager[Any]] = contextlib.nullcontext,
) -> List[Forward]:
    if mode == "torchscript":
        return _torchscript(model, example, area)
    if mode == "inductor":
        return [torch.compile(model, dynamic=True)]
    if mode == "cuda_graph":
        return [CudaGraphs(model, area)]
    return [model]


def _torchscript(
    model: nn.Module, example: Sequence[torch.Tensor], area: Callable[[], ContextManager[Any]]
) -> List[Forward]:
    """Trace, freeze (folds BatchNorm and dropout) and fuse.

    Fusing gives a CPU oneDNN's own tensor layout: faster for large batches, yet each operator costs more to start,
    so that a small model with few rows runs faster without.
    """
    with torch.no_grad(), area(), warnings.catch_warnings():
        # TorchScript is deprecated in newer versions of torch, and still the fastest on a CPU.
        # What a trace warns of, a branch on values, is seen when its answers are compared with eager's.
        for category in (DeprecationWarning, FutureWarning, TracerWarning):
            warnings.simplefilter("ignore", category)
        script: Any = model
        if not isinstance(model, torch.jit.ScriptModule):
            script = torch.jit.trace(model, tuple(example))  # type: ignore[no-untyped-call]
        if not hasattr(script, "training"):  # frozen before it was saved
            return [torch.jit.optimize_for_inference(script)]
        frozen, other = (torch.jit.freeze(script.eval()) for _ in range(2))
        return [frozen, torch.jit.optimize_for_inference(other)]


class CudaGraphs:
    """One captured graph for each batch size that comes; the engine pads, so these are few.

    Inputs are copied into the graph's own memory and its output is copied out, so that the next call cannot
    overwrite an answer.

    Raises:
        ConfigError: the model cannot be captured. Nothing else may run on the device after that: torch leaves the
            capture half done.
    """

    def __init__(self, model: nn.Module, area: Callable[[], ContextManager[Any]]) -> None:
        self._model = model
        self._area = area
        self._graphs: Dict[Tuple[Any, ...], Tuple[Any, Tuple[torch.Tensor, ...], torch.Tensor]] = {}
        self._pool: Any = None
        # One for all sizes: cuBLAS keeps a workspace of up to 32 MiB for each stream that it ever saw.
        self._side: Any = torch.cuda.Stream()  # type: ignore[no-untyped-call]

    def __call__(self, *inputs: torch.Tensor) -> torch.Tensor:
        key = tuple((tensor.shape, tensor.dtype) for tensor in inputs)
        if key not in self._graphs:
            self._graphs[key] = self._capture(inputs)
        graph, held, scores = self._graphs[key]
        for mine, given in zip(held, inputs):
            mine.copy_(given, non_blocking=True)
        graph.replay()
        return scores.clone()

    def _capture(self, inputs: Tuple[torch.Tensor, ...]) -> Tuple[Any, Tuple[torch.Tensor, ...], torch.Tensor]:
        held = tuple(tensor.clone() for tensor in inputs)
        self._side.wait_stream(torch.cuda.current_stream())
        with torch.cuda.stream(self._side), self._area():
            for _ in range(3):  # lets cuDNN choose its kernels before the capture
                self._model(*held)
        torch.cuda.current_stream().wait_stream(self._side)
        graph = torch.cuda.CUDAGraph()
        try:
            with torch.cuda.graph(graph, pool=self._pool, stream=self._side), self._area():
                scores = self._model(*held)
        except Exception as error:
            # Ending the capture fails as well then; what the model did comes before it.
            cause = str(error.__context__ or error).split("\n")[0]
            raise ConfigError(
                f"handler.compile: cuda_graph cannot capture this model ({cause}); set compile: none"
            ) from error
        self._pool = graph.pool()
        return graph, held, scores


def _autocast_area(device: torch.device, low: torch.dtype) -> Callable[[], ContextManager[Any]]:
    # The cache of cast weights must not outlive a capture or a trace.
    return lambda: torch.autocast(device.type, dtype=low, cache_enabled=False)


def _autocast(forward: Forward, device: torch.device, low: torch.dtype) -> Forward:
    area = _autocast_area(device, low)

    def call(*inputs: torch.Tensor) -> torch.Tensor:
        with area():
            return forward(*inputs).float()

    return call


def _cast(forward: Forward, low: torch.dtype) -> Forward:
    return lambda *inputs: forward(*(_to(tensor, low) for tensor in inputs)).float()


def _to(tensor: torch.Tensor, low: torch.dtype) -> torch.Tensor:
    return tensor.to(low) if tensor.is_floating_point() else tensor
