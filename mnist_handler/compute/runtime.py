"""From a loaded model to one that serves: checked, compiled, verified against eager, warm."""

from __future__ import annotations

import logging
from dataclasses import dataclass
from typing import Callable, List, Optional, Sequence, Tuple

import torch
from torch import nn

from mnist_handler.compute.compiled import choose_mode, compile_model
from mnist_handler.compute.engine import Engine, Forward, Scores, default_sizes, is_out_of_memory
from mnist_handler.compute.folding import eager_copy
from mnist_handler.compute.loading import LoadError
from mnist_handler.compute.verify import Mismatch, probes, verify
from mnist_handler.config import ConfigError, HandlerConfig
from mnist_handler.inputs.spec import InputSpec

logger = logging.getLogger(__name__)

#: Gives inputs of so many rows as ``preprocess`` makes them; a second number is the length where a shape has -1.
Example = Callable[..., List[torch.Tensor]]
#: Rows of the largest batch in which compiled and eager are compared; a graph is captured for each size.
_PROBED = 8


@dataclass(frozen=True)
class Runtime:
    """A model that is ready to answer."""

    engine: Engine
    #: How it runs: none, torchscript, inductor or cuda_graph.
    mode: str
    #: The eager model that attributions go through.
    eager: nn.Module
    #: What one row of ``example`` gave.
    scores: Scores


def build_runtime(
    model: nn.Module,
    config: HandlerConfig,
    device: torch.device,
    specs: Sequence[InputSpec],
    example: Example,
    warm_up_seconds: float,
    explainable: bool = True,
) -> Runtime:
    """Check, compile, verify and warm up a model.

    Args:
        explainable: whether attributions need an eager model of their own.

    Raises:
        ConfigError: the device cannot do what is set, or the compiled model answers otherwise than eager.
        LoadError: the model does not take rows of ``specs``.
        MemoryError: the device does not hold one row.
    """
    fixed = all(size >= 0 for spec in specs for size in spec.tensor.shape)
    mode = choose_mode(config.compile, config.precision, device, fixed)
    _check_shapes(model, specs, example)
    folded = mode == "cuda_graph"
    named = config.explain_layer is not None or any(spec.tensor.embedding is not None for spec in specs)
    eager = eager_copy(model, example(2), fold=not named) if explainable else model
    # A graph replays BatchNorm as kernels of its own unless it is folded.
    served = (eager if explainable and not named else eager_copy(model, example(2))) if folded else model
    sizes = config.batch_buckets or tuple(default_sizes(config.max_batch_size))
    small = [size for size in sizes[:5] if size <= _PROBED] or sizes[:1]
    mode, forwards = _compile(served, mode, config, device, specs, example, small)
    engine = Engine(forwards, config.max_batch_size, sizes if fixed else None)
    engine.warm_up(example(1), warm_up_seconds)
    with torch.inference_mode():  # inputs as a request's are
        outcome = engine.run(example(1))
    if outcome.scores is None:
        raise MemoryError("the device's memory does not hold one row")
    return Runtime(engine, mode, eager, outcome.scores)


def _check_shapes(model: nn.Module, specs: Sequence[InputSpec], example: Example) -> None:
    """Raise LoadError if the model, as it came and without compiling, refuses rows of ``specs``."""
    try:
        with torch.inference_mode():
            model(*example(2))
    except Exception as error:
        if is_out_of_memory(error):
            return
        shapes = [str(spec.shape) if len(specs) == 1 else f"{spec.name} {spec.shape}" for spec in specs]
        raise LoadError(f"the model does not take inputs of row_shape {', '.join(shapes)}: {error}") from error


def _of_tensors(specs: Sequence[InputSpec]) -> List[Optional[InputSpec]]:
    """The spec of each argument of the model; None for masks and lengths."""
    arguments: List[Optional[InputSpec]] = []
    for spec in specs:
        arguments += [spec.tensor, None] if spec.tensor.companion else [spec.tensor]
    return arguments


def _compile(
    model: nn.Module,
    mode: str,
    config: HandlerConfig,
    device: torch.device,
    specs: Sequence[InputSpec],
    example: Example,
    sizes: Sequence[int],
) -> Tuple[str, List[Forward]]:
    """The mode that holds and its forwards; ``auto`` falls back to eager where compiling fails or answers wrongly.

    The two are compared with batches of ``sizes`` rows.

    A broken capture of CUDA graphs always ends the load: nothing may run on the device after it.
    """
    if mode == "none":
        return mode, compile_model(model, mode, config.precision, device, example(2))
    (eager,) = compile_model(model, "none", config.precision, device, example(2))
    try:
        forwards = compile_model(model, mode, config.precision, device, example(2))
    except ConfigError:
        raise
    except Exception as error:
        if is_out_of_memory(error):
            raise
        cause = f"it cannot be compiled ({type(error).__name__}: {str(error).strip().split(chr(10))[0]})"
    else:
        try:
            verify(forwards, eager, probes(_of_tensors(specs), example, sizes), config.precision)
            return mode, forwards
        except Mismatch as error:
            cause = str(error)
    if config.compile != "auto":
        raise ConfigError(f"handler.compile: {mode}: {cause}; set none, or leave it out")
    logger.warning("compile: auto runs this model in eager mode, not %s: %s", mode, cause)
    return "none", [eager]
