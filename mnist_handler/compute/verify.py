"""Whether a compiled model answers as the eager one: random rows of several sizes through both.

A trace follows one path through a model that branches on its values, and answers wrongly on the others without a
word. So rows of several scales and signs go through both before the first client's.
"""

from __future__ import annotations

import math
import time
from typing import Callable, Dict, Iterator, List, Optional, Sequence, Tuple

import torch

from mnist_handler.compute.engine import Forward, Scores
from mnist_handler.config import ConfigError
from mnist_handler.inputs.spec import InputSpec

#: Relative and absolute tolerance, the latter as a share of the largest score (1 at least), by precision. Fused
#: operators add up in another order; a wrong branch is off by more.
TOLERANCES: Dict[str, Tuple[float, float]] = {"fp32": (1e-3, 1e-4), "fp16": (2e-2, 2e-2), "bf16": (5e-2, 5e-2)}
#: What random floats are made into: of both signs, positive, negative, small, 0..1, and as pixels are.
_SCALES: Tuple[Tuple[str, Callable[[torch.Tensor], torch.Tensor]], ...] = (
    ("standard normal", lambda noise: noise),
    ("positive", lambda noise: noise.abs() + 1),
    ("negative", lambda noise: -noise.abs() - 1),
    ("small", lambda noise: noise * 1e-3),
    ("from 0 to 1", torch.sigmoid),
    ("from 0 to 255", lambda noise: torch.sigmoid(noise) * 255),
)
_LENGTHS = (1, 5, 2, 20)
#: Seconds after which a slow model has shown enough; the first scales are the telling ones.
_ENOUGH = 10.0


class Mismatch(RuntimeError):
    """The compiled model does not answer as the eager one; the message says on what."""


def probes(
    specs: Sequence[Optional[InputSpec]], example: Callable[[int, int], List[torch.Tensor]], sizes: Sequence[int]
) -> Iterator[Tuple[str, List[torch.Tensor]]]:
    """Random inputs, each with words for them: every scale, with each of the sizes in turn, within ``specs``' bounds.

    Args:
        specs: one a tensor; None for one that is to be taken as it is, such as a mask.
        example: gives inputs of so many rows and, where a shape has -1, of that length.
        sizes: numbers of rows.
    """
    for number, (words, scale) in enumerate(_SCALES):
        size, length = sizes[number % len(sizes)], _LENGTHS[number % len(_LENGTHS)]
        generator = torch.Generator().manual_seed(number)
        inputs = [_fill(one, spec, scale, generator) for spec, one in zip(specs, example(size, length))]
        yield f"{size} rows of {words} values", inputs


def verify(
    forwards: Sequence[Forward], eager: Forward, inputs: Iterator[Tuple[str, List[torch.Tensor]]], precision: str
) -> None:
    """Compare each forward with eager; inputs that eager itself refuses say nothing and are passed over.

    Raises:
        Mismatch: a forward fails, unequal shapes, or scores further apart than ``TOLERANCES``.
    """
    end = time.monotonic() + _ENOUGH
    with torch.inference_mode():
        for words, given in inputs:
            if time.monotonic() > end:
                return
            # Clones: a model may write into its inputs.
            try:
                wanted = as_tuple(eager(*(one.clone() for one in given)))
            except Exception:
                continue
            for forward in forwards:
                got = _call(forward, given, words)
                for one, other in zip(got, wanted):
                    _compare(one.float(), other.float(), words, precision)


def _call(forward: Forward, given: Sequence[torch.Tensor], words: str) -> Tuple[torch.Tensor, ...]:
    try:
        return as_tuple(forward(*(one.clone() for one in given)))
    except (ConfigError, MemoryError, torch.cuda.OutOfMemoryError):
        raise
    except Exception as error:
        cause = str(error).strip().split("\n")[0]
        raise Mismatch(f"on {words} it fails ({type(error).__name__}: {cause}), eager does not") from error


def as_tuple(scores: Scores) -> Tuple[torch.Tensor, ...]:
    return scores if isinstance(scores, tuple) else (scores,)


def _compare(got: torch.Tensor, wanted: torch.Tensor, words: str, precision: str) -> None:
    if got.shape != wanted.shape:
        raise Mismatch(f"on {words} it answers shape {list(got.shape)}, eager {list(wanted.shape)}")
    finite = wanted[wanted.isfinite()]
    largest = max(1.0, float(finite.abs().max())) if finite.numel() else 1.0
    relative, absolute = TOLERANCES[precision]
    if not torch.allclose(got, wanted, rtol=relative, atol=absolute * largest, equal_nan=True):
        apart = float((got - wanted).abs().nan_to_num().max())
        raise Mismatch(f"on {words} it answers otherwise than eager, by {apart:.3g} where scores reach {largest:.3g}")


def _fill(
    example: torch.Tensor,
    spec: Optional[InputSpec],
    scale: Callable[[torch.Tensor], torch.Tensor],
    generator: torch.Generator,
) -> torch.Tensor:
    if spec is None:
        return example
    if example.dtype == torch.bool:
        values = torch.rand(example.shape, generator=generator) < 0.5
    elif example.is_floating_point():
        values = scale(torch.randn(example.shape, generator=generator))
        low, high = (-math.inf if spec.low is None else spec.low), (math.inf if spec.high is None else spec.high)
        values = values.clamp(low, high)
    else:
        # An index without bounds may be good for 0 and 1 alone.
        least = 0 if spec.low is None else int(spec.low)
        most = max(least, 1) if spec.high is None else int(spec.high)
        values = torch.randint(least, most + 1, example.shape, generator=generator)
    return values.to(example)
