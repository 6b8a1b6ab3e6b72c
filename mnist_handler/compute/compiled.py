"""An eager model made fast: TorchScript, Inductor or CUDA graphs, in the wanted precision."""

from __future__ import annotations

import contextlib
import copy
import logging
import os
import shutil
import sys
import warnings
from typing import Any, Dict, Iterator, List, Mapping, Optional, Sequence, Tuple

import torch
from torch import nn
from torch.jit._trace import TracerWarning

from mnist_handler.compute.engine import Forward, Scores
from mnist_handler.config import ConfigError

logger = logging.getLogger(__name__)

#: torch says that TorchScript does not work from this Python on.
NO_TORCHSCRIPT = (3, 14)
_LOW = {"bf16": torch.bfloat16, "fp16": torch.float16}


class TraceError(RuntimeError):
    """Tracing this model would lose a way through it; the message is torch's."""


def choose_mode(mode: str, precision: str, device: torch.device, fixed: bool) -> str:
    """Resolve ``auto``, where nothing was compiled ahead, and refuse what the device cannot do.

    Args:
        fixed: whether rows have one shape. Else each new length would be another graph, captured while a request
            waits, and kept for ever.

    Raises:
        ConfigError: fp16 on a CPU, CUDA graphs without a GPU or for rows of any length, Inductor without the compiler
            that it needs, TorchScript on a Python that torch does not support it on.
    """
    if device.type != "cuda":
        if precision == "fp16":
            raise ConfigError("handler.precision: fp16 needs a GPU; a CPU takes fp32 or bf16")
        if mode == "cuda_graph":
            raise ConfigError("handler.compile: cuda_graph needs a GPU; a CPU takes torchscript, inductor or none")
    if mode == "cuda_graph" and not fixed:
        raise ConfigError("handler.compile: cuda_graph needs rows of one shape, without -1; set none, or leave it out")
    if mode == "inductor" and not _has_compiler(device):
        needs = (
            "a C compiler on a GPU (gcc, clang or what the environment's CC names)"
            if device.type == "cuda"
            else "a C++ compiler (g++, clang++ or what the environment's CXX names)"
        )
        raise ConfigError(
            f"handler.compile: inductor needs {needs}, and there is none; set none, or leave it out, and have the "
            "model compiled when its archive is built"
        )
    if mode == "torchscript" and sys.version_info >= NO_TORCHSCRIPT:
        raise ConfigError("handler.compile: torchscript does not work on Python 3.14 and later; set none, or ahead")
    if mode not in ("auto", "ahead"):
        return mode
    if device.type == "cuda":
        return "cuda_graph" if fixed else "none"
    return "torchscript" if sys.version_info < NO_TORCHSCRIPT else "none"


def _has_compiler(device: torch.device) -> bool:
    """Whether Inductor finds what it compiles its kernels with, or Triton, on a GPU, their launchers."""
    variable, usual = ("CC", ["gcc", "clang"]) if device.type == "cuda" else ("CXX", ["g++", "clang++"])
    names = [os.environ[variable]] if variable in os.environ else usual
    return any(shutil.which(name) for name in names)


def compile_model(
    model: nn.Module,
    mode: str,
    precision: str,
    device: torch.device,
    example: Sequence[torch.Tensor],
    options: Optional[Mapping[str, Any]] = None,
) -> List[Forward]:
    """Build the functions that may serve predictions; ``model`` itself stays as it is.

    Args:
        mode: none, torchscript, inductor or cuda_graph, see :func:`choose_mode`.
        example: inputs of two rows on the device.
        options: of ``torch.compile``, see :class:`HandlerConfig`.

    Returns:
        Equal functions, of which the engine takes the fastest for each batch size.
    """
    model, low = in_precision(model, precision, example)
    if mode == "cuda_graph":
        return [CudaGraphs(model, low)]
    if low is None:
        return _compile(model, mode, example, options)
    return [cast(one, low) for one in _compile(model, mode, [_to(tensor, low) for tensor in example], options)]


def in_precision(
    model: nn.Module, precision: str, example: Sequence[torch.Tensor]
) -> Tuple[nn.Module, Optional[torch.dtype]]:
    """The model and None for fp32; else a copy of it and the type of its weights and floating inputs.

    The weights are cast once, where autocast would cast them in each batch.

    Raises:
        ConfigError: the model makes tensors of another type and mixes them with its weights.
    """
    low = _LOW.get(precision)
    if low is None:
        return model, None
    model = copy.deepcopy(model).to(low)
    try:
        with torch.no_grad():
            model(*(_to(tensor, low) for tensor in example))
    except RuntimeError as error:
        if "dtype" not in str(error) and "scalar type" not in str(error):
            raise
        raise ConfigError(
            f"handler.precision: the model mixes datatypes where its weights are {precision} "
            f"({str(error).splitlines()[0]}); set fp32, or have its forward take the type of its inputs"
        ) from error
    return model, low


def _compile(
    model: nn.Module, mode: str, example: Sequence[torch.Tensor], options: Optional[Mapping[str, Any]]
) -> List[Forward]:
    if mode == "torchscript":
        return _torchscript(model, example)
    if mode == "inductor":
        return [torch.compile(model, **{"dynamic": True, **(options or {})})]
    return [model]


def _torchscript(model: nn.Module, example: Sequence[torch.Tensor]) -> List[Forward]:
    """Trace, freeze (folds BatchNorm and dropout) and fuse.

    Fusing gives a CPU oneDNN's own tensor layout: faster for large batches, yet each operator costs more to start,
    so that a small model with few rows runs faster without.
    """
    with torch.no_grad(), warnings.catch_warnings():
        # TorchScript is deprecated in newer versions of torch, and still the fastest on a CPU without a package.
        for category in (DeprecationWarning, FutureWarning):
            warnings.simplefilter("ignore", category)
        script: Any = model if isinstance(model, torch.jit.ScriptModule) else _trace(model, example)
        if not hasattr(script, "training"):  # frozen before it was saved
            return [torch.jit.optimize_for_inference(script)]
        frozen, other = (torch.jit.freeze(script.eval()) for _ in range(2))
        return [frozen, torch.jit.optimize_for_inference(other)]


def _trace(model: nn.Module, example: Sequence[torch.Tensor]) -> Any:
    """Raise TraceError where tracing warns: it follows one way through a model that branches on values."""
    with warnings.catch_warnings(record=True) as given:
        warnings.simplefilter("always", TracerWarning)
        traced = torch.jit.trace(model, tuple(example))  # type: ignore[no-untyped-call]
    for one in given:
        if issubclass(one.category, TracerWarning):
            raise TraceError(str(one.message))
    return traced


class CudaGraphs:
    """One captured graph for each batch size that comes; the engine has few of them.

    Inputs are copied into the graph's own memory (and thereby cast and padded), its output is copied out, so that the
    next call cannot overwrite an answer.

    Args:
        low: the type of the model's weights and floating inputs where it is not float32; scores are float32 always.

    Raises:
        ConfigError: the model cannot be captured. Nothing else may run on the device after that: torch leaves the
            capture half done.
    """

    def __init__(self, model: nn.Module, low: Optional[torch.dtype] = None) -> None:
        self._model = model
        self._low = low
        self._graphs: Dict[Tuple[Any, ...], Tuple[Any, Tuple[torch.Tensor, ...], Scores]] = {}
        self._pool: Any = None
        # One for all sizes: cuBLAS keeps a workspace of up to 32 MiB for each stream that it ever saw.
        self._side: Any = torch.cuda.Stream()  # type: ignore[no-untyped-call]

    def __call__(self, *inputs: torch.Tensor) -> Scores:
        return self.padded(inputs, len(inputs[0]))

    def padded(self, inputs: Sequence[torch.Tensor], size: int) -> Scores:
        """Scores of the inputs' rows, by the graph of ``size`` rows; those that are lacking are zeros."""
        key = (size, *((tensor.shape[1:], tensor.dtype) for tensor in inputs))
        if key not in self._graphs:
            self._graphs[key] = self._capture(inputs, size)
        graph, held, scores = self._graphs[key]
        rows = len(inputs[0])
        for mine, given in zip(held, inputs):
            mine[:rows].copy_(given, non_blocking=True)
            if rows < size:
                mine[rows:].zero_()  # no row of another client's
        graph.replay()
        return tuple(one[:rows].clone() for one in scores) if isinstance(scores, tuple) else scores[:rows].clone()

    def _capture(self, inputs: Sequence[torch.Tensor], size: int) -> Tuple[Any, Tuple[torch.Tensor, ...], Scores]:
        held = tuple(self._room(tensor, size) for tensor in inputs)
        self._side.wait_stream(torch.cuda.current_stream())
        graph = torch.cuda.CUDAGraph()
        with _best_convolutions():
            with torch.cuda.stream(self._side):
                for _ in range(3):  # lets cuDNN choose its kernels before the capture
                    self._model(*held)
            torch.cuda.current_stream().wait_stream(self._side)
            try:
                with torch.cuda.graph(graph, pool=self._pool, stream=self._side):
                    scores = self._model(*held)
                    scores = scores if self._low is None else _full(scores)
            except Exception as error:
                # Ending the capture fails as well then; what the model did comes before it.
                cause = str(error.__context__ or error).split("\n")[0]
                raise ConfigError(
                    f"handler.compile: cuda_graph cannot capture this model ({cause}); set compile: none"
                ) from error
        self._pool = graph.pool()
        return graph, held, scores

    def _room(self, tensor: torch.Tensor, size: int) -> torch.Tensor:
        dtype = self._low if self._low is not None and tensor.is_floating_point() else tensor.dtype
        room = tensor.new_zeros((size, *tensor.shape[1:]), dtype=dtype)
        # Images as the convolutions' weights lie: the copy turns them, where each replay would.
        return room.contiguous(memory_format=torch.channels_last) if room.dim() == 4 else room


@contextlib.contextmanager
def _best_convolutions() -> Iterator[None]:
    """cuDNN tries its kernels, since the shapes stay. Not outside: attributions have other shapes all the time."""
    before, torch.backends.cudnn.benchmark = torch.backends.cudnn.benchmark, True
    try:
        yield
    finally:
        torch.backends.cudnn.benchmark = before


def cast(forward: Forward, low: torch.dtype) -> Forward:
    """A forward of ``low`` that takes and gives float32."""
    return lambda *inputs: _full(forward(*(_to(tensor, low) for tensor in inputs)))


def _full(scores: Scores) -> Scores:
    """Floats as float32; what else a model gives (masks, indices) as it is."""
    if isinstance(scores, tuple):
        return tuple(one.float() if one.is_floating_point() else one for one in scores)
    return scores.float() if scores.is_floating_point() else scores


def _to(tensor: torch.Tensor, low: torch.dtype) -> torch.Tensor:
    return tensor.to(low) if tensor.is_floating_point() else tensor
