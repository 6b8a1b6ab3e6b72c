"""Whether a compiled model answers as the eager one: random rows of several sizes through both.

A trace follows one path through a model that branches on its values, and answers wrongly on the others without a
word. So rows of several scales and signs go through both before the first client's.
"""

from __future__ import annotations

import math
import time
from typing import Callable, Dict, Iterator, List, Sequence, Tuple, Union

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


#: An argument of a model: an input, or ``mask`` or ``lengths`` of the one before it.
Argument = Union[InputSpec, str]


class Mismatch(RuntimeError):
    """The compiled model does not answer as the eager one; the message says on what."""


def arguments(specs: Sequence[InputSpec]) -> List[Argument]:
    """What each argument of the model is: an input, or the mask or the lengths of the one before it."""
    made: List[Argument] = []
    for spec in specs:
        made += [spec.tensor, spec.tensor.companion] if spec.tensor.companion else [spec.tensor]
    return made


def probes(
    kinds: Sequence[Argument],
    example: Callable[[int, int], List[torch.Tensor]],
    sizes: Sequence[int],
    lengths: Sequence[int] = _LENGTHS,
) -> Iterator[Tuple[str, List[torch.Tensor]]]:
    """Random inputs, each with words for them: every scale, with each of the sizes in turn, within inputs' bounds.

    Args:
        kinds: of :func:`arguments`, one a tensor.
        example: gives inputs of so many rows and, where a shape has -1, of that length.
        sizes: numbers of rows.
        lengths: of rows whose length is open.
    """
    for number, (words, scale) in enumerate(_SCALES):
        size, length = sizes[number % len(sizes)], lengths[number % len(lengths)]
        generator = torch.Generator().manual_seed(number)
        inputs: List[torch.Tensor] = []
        for kind, one in zip(kinds, example(size, length)):
            if isinstance(kind, InputSpec):
                inputs.append(_fill(one, kind, scale, generator))
            else:
                inputs.append(_companion(one, inputs[-1].shape[1], generator))
        yield f"{size} rows of {words} values", inputs


def verify(
    forwards: Sequence[Forward],
    eager: Forward,
    inputs: Iterator[Tuple[str, List[torch.Tensor]]],
    precision: str,
    seconds: float = _ENOUGH,
) -> int:
    """Compare each forward with eager; inputs that eager itself refuses say nothing and are passed over.

    Returns:
        How many inputs were compared, in ``seconds`` or a little more.

    Raises:
        Mismatch: a forward fails, unequal shapes, or scores further apart than ``TOLERANCES``.
    """
    end = time.monotonic() + seconds
    compared = 0
    with torch.inference_mode():
        for words, given in inputs:
            if time.monotonic() > end:
                break
            # Clones: a model may write into its inputs.
            try:
                wanted = as_tuple(eager(*(one.clone() for one in given)))
            except Exception:
                continue
            for forward in forwards:
                got = _call(forward, given, words)
                for one, other in zip(got, wanted):
                    _compare(one.float(), other.float(), words, precision)
            compared += 1
    return compared


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


def _companion(example: torch.Tensor, longest: int, generator: torch.Generator) -> torch.Tensor:
    """A mask, or lengths, of rows of random lengths, the first of them the longest."""
    lengths = torch.randint(1, longest + 1, (len(example),), generator=generator)
    lengths[0] = longest
    values = lengths if example.dim() == 1 else torch.arange(longest) < lengths.unsqueeze(1)
    return values.to(example)


def _fill(
    example: torch.Tensor,
    spec: InputSpec,
    scale: Callable[[torch.Tensor], torch.Tensor],
    generator: torch.Generator,
) -> torch.Tensor:
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
