"""From a loaded model to one that serves: checked, compiled, verified against eager, warm."""

from __future__ import annotations

import logging
from dataclasses import dataclass
from itertools import islice
from pathlib import Path
from typing import Callable, List, Optional, Sequence, Tuple

import torch
from torch import nn

from mnist_handler.compute import package
from mnist_handler.compute.compiled import cast, choose_mode, compile_model, in_precision
from mnist_handler.compute.engine import Engine, Forward, Scores, default_sizes, is_out_of_memory, telling
from mnist_handler.compute.fit import fit_threads
from mnist_handler.compute.folding import eager_copy
from mnist_handler.compute.loading import LoadError
from mnist_handler.compute.verify import Mismatch, arguments, probes, verify
from mnist_handler.config import ConfigError, HandlerConfig
from mnist_handler.inputs.spec import InputSpec

logger = logging.getLogger(__name__)

#: Gives inputs of so many rows as ``preprocess`` makes them; a second number is the length where a shape has -1.
Example = Callable[..., List[torch.Tensor]]
#: Rows of the largest batch in which compiled and eager are compared; a graph is captured for each size.
_PROBED = 8
#: Length of the row that threads are measured with, where a shape has -1.
_LENGTH = 64


@dataclass(frozen=True)
class Runtime:
    """A model that is ready to answer."""

    engine: Engine
    #: How it runs: ahead, none, torchscript, inductor or cuda_graph.
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
    directory: Optional[Path] = None,
) -> Runtime:
    """Check, compile, verify and warm up a model.

    Args:
        explainable: whether attributions need an eager model of their own.
        directory: the unpacked archive, which may have the model compiled ahead.

    Raises:
        ConfigError: the device cannot do what is set, or the compiled model answers otherwise than eager.
        LoadError: the model does not take rows of ``specs``.
        MemoryError: the device does not hold one row.
    """
    fixed = all(size >= 0 for spec in specs for size in spec.tensor.shape)
    mode = choose_mode(config.compile, config.precision, device, fixed)
    _check_shapes(model, specs, example)
    sizes = config.batch_buckets or tuple(default_sizes(config.max_batch_size))
    ahead = _ahead(model, mode, config, device, specs, example, directory)
    # A layer that is named must be found, so it is not folded away.
    named = config.explain_layer is not None or any(spec.tensor.embedding is not None for spec in specs)
    if ahead is not None:
        eager = eager_copy(model, example(2), fold=not named) if explainable else model
        fitted = _fit_threads(ahead, example(1, _LENGTH), config, device)
        engine = Engine([ahead], config.max_batch_size, sizes if fixed else None, pads=False)
        return _ready(engine, "ahead", eager, example, warm_up_seconds, config, fitted)
    folded = mode == "cuda_graph"
    eager = eager_copy(model, example(2), fold=not named) if explainable else model
    # A graph replays BatchNorm as kernels of its own unless it is folded.
    served = (eager if explainable and not named else eager_copy(model, example(2))) if folded else model
    small = [size for size in sizes[:5] if size <= _PROBED] or sizes[:1]
    with telling(f"compiling ({mode}), {{:.0f}} s"):
        mode, forwards = _compile(served, mode, config, device, specs, example, small)
    fitted = _fit_threads(forwards[0], example(sizes[0] if fixed else 1, _LENGTH), config, device)
    engine = Engine(forwards, config.max_batch_size, sizes if fixed else None)
    return _ready(engine, mode, eager, example, warm_up_seconds, config, fitted)


def _fit_threads(
    forward: Forward, row: Sequence[torch.Tensor], config: HandlerConfig, device: torch.device
) -> List[str]:
    """What was measured and set, in words."""
    if device.type != "cpu":
        return []
    return list(filter(None, [fit_threads(lambda: forward(*row), config.intra_op_threads)]))


def _ready(
    engine: Engine,
    mode: str,
    eager: nn.Module,
    example: Example,
    seconds: float,
    config: HandlerConfig,
    fitted: List[str],
) -> Runtime:
    """Warmed up, what fits the model said in one line, and one row answered."""
    engine.warm_up(example(1), seconds, fit=config.batch_buckets is None)
    if engine.best_size is not None:
        fitted.append(f"more than {engine.best_size} rows at a time bring no more")
    if fitted:
        logger.info("fitted to this model: %s", "; ".join(fitted))
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


def _ahead(
    model: nn.Module,
    mode: str,
    config: HandlerConfig,
    device: torch.device,
    specs: Sequence[InputSpec],
    example: Example,
    directory: Optional[Path],
) -> Optional[Forward]:
    """The model compiled ahead, which has answered one random row as eager does; None where another mode holds.

    Raises:
        ConfigError: it is set, and is not there or not for what is here.
    """
    if config.compile not in ("auto", "ahead"):
        return None
    path = package.find(directory)
    if path is None:
        fault = f"the archive has no {package.NAME}, a model compiled when it was built"
    else:
        try:
            lowered, low = in_precision(model, config.precision, example(2))
            ahead: Forward = package.load(path, device, config.precision, lowered)
            eager: Forward = lowered
            if low is not None:
                ahead, eager = cast(ahead, low), cast(eager, low)
            verify([ahead], eager, islice(probes(arguments(specs), example, [1]), 1), config.precision)
            return _or_eager(ahead, eager)
        except (package.Unfit, Mismatch) as error:
            fault = f"the model that was compiled ahead, {package.NAME}, is not used: {error}"
    if config.compile == "ahead":
        raise ConfigError(f"handler.compile: ahead: {fault}; build the archive for what is here, or leave it out")
    log = logger.info if path is None else logger.warning
    log("%s; this worker runs compile: %s", fault, mode)
    return None


def _or_eager(ahead: Forward, eager: Forward) -> Forward:
    """The compiled model; where it fails eager in its place, whose error tells a lack of memory from others."""

    def forward(*inputs: torch.Tensor) -> Scores:
        try:
            return ahead(*inputs)
        except RuntimeError:
            return eager(*inputs)

    return forward


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
        forwards = compile_model(model, mode, config.precision, device, example(2), config.compile_options)
    except ConfigError:
        raise
    except Exception as error:
        if is_out_of_memory(error):
            raise
        cause = f"it cannot be compiled ({type(error).__name__}: {str(error).strip().split(chr(10))[0]})"
    else:
        try:
            verify(forwards, eager, probes(arguments(specs), example, sizes), config.precision)
            return mode, forwards
        except Mismatch as error:
            cause = str(error)
    if config.compile != "auto":
        raise ConfigError(f"handler.compile: {mode}: {cause}; set none, or leave it out")
    logger.warning("compile: auto runs this model in eager mode, not %s: %s", mode, cause)
    return "none", [eager]
