"""What a request's inputs must be to be the model's: their names, and the bounds of their values."""

from __future__ import annotations

import math
import re
from typing import Any, Dict, List, Sequence, Tuple

import numpy as np

from mnist_handler.config import ConfigError
from mnist_handler.inputs import arrays
from mnist_handler.inputs.spec import PREPROCESSED, Chunk, InputSpec
from mnist_handler.requests import InputValues, RequestError

#: Keys of a V1 row that mean something else, and the V2 input that holds targets.
RESERVED_NAMES = frozenset(("b64", "body", "data", "image_bytes", "parameters", "target"))


def check_specs(specs: Sequence[InputSpec]) -> None:
    """Raise ConfigError for inputs that no request could reach or no tensor could hold."""
    if not specs:
        raise ConfigError("the handler declares no inputs: set the class attribute inputs")
    names = [spec.name for spec in specs]
    for spec in specs:
        if spec.name in RESERVED_NAMES:
            raise ConfigError(
                f"an input may not be called {spec.name!r}, which means something else in a request; reserved are "
                f"{', '.join(sorted(RESERVED_NAMES))}"
            )
        if names.count(spec.name) > 1:
            raise ConfigError(f"two inputs are called {spec.name!r}")
        _check_tensor(spec)


def _check_tensor(spec: InputSpec) -> None:
    tensor, name = spec.tensor, spec.name
    if tensor.datatype not in arrays.DATATYPES:
        hint = ", so say what it becomes: InputSpec(…, becomes=…)" if tensor.datatype == "BYTES" else ""
        raise ConfigError(f"input {name}: a model takes no {tensor.datatype}, only {', '.join(arrays.DATATYPES)}{hint}")
    if tensor.embedding is not None and "INT" not in tensor.datatype:
        raise ConfigError(f"input {name}: embedding is for integers, which {tensor.datatype} holds none of")
    if tensor.companion not in (None, "mask", "lengths"):
        raise ConfigError(f'input {name}: companion {tensor.companion!r} is neither "mask" nor "lengths"')
    if tensor.pad is None and (tensor.companion or tensor.buckets):
        raise ConfigError(f"input {name}: buckets and companion need pad, the value that fills rows up")
    if tensor.pad is not None and tensor.shape[:1] != (-1,):
        raise ConfigError(f"input {name}: pad needs rows of any length, a shape that begins with -1")
    if list(tensor.buckets) != sorted(set(tensor.buckets)) or (tensor.buckets and tensor.buckets[0] < 1):
        raise ConfigError(f"input {name}: buckets must be lengths in rising order, not {tensor.buckets}")


def check_names(given: Sequence[str], wanted: Sequence[str], repeatable: Sequence[str] = ()) -> None:
    """Raise RequestError (400) unless each input that is wanted is given, and no other; once, if not ``repeatable``."""
    takes = f"the model takes {', '.join(wanted)}"
    unknown = _others(given, wanted)
    if unknown:
        raise RequestError(400, f"unknown input {', '.join(unknown)}; {takes}")
    missing = _others(wanted, given)
    if missing:
        verb = "is" if len(missing) == 1 else "are"
        raise RequestError(400, f"input {', '.join(missing)} {verb} missing; {takes}")
    twice = sorted({name for name in given if given.count(name) > 1 and name not in repeatable})
    if twice:
        raise RequestError(400, f"input {', '.join(twice)} more than once; {takes}, each once")


def check_continued(given: Sequence[Tuple[str, InputValues]], spec: InputSpec, any_form: bool) -> None:
    """Raise RequestError (400) where several V2 inputs of a request cannot all be rows of a model's only input.

    Clients of the stock runtime send an input a row and number them, by names of their own. But who uses the model's
    name means something else by another one, and so does who sends the lengths or the mask that the model gets anyway.

    Args:
        any_form: the handler reads rows of several datatypes, as images are.
    """
    names = [name for name, _ in given]
    takes = f"the model takes {spec.name}"
    companion = spec.tensor.companion
    for name in names:
        if companion is not None and name != spec.name and re.split(r"\W|_", name.lower())[-1] == companion:
            raise RequestError(400, f"unknown input {name}; {takes} alone, whose {companion} it tells by itself")
    if spec.name in names:
        unknown = [name for name in _others(names, [spec.name]) if _stem(name) != _stem(spec.name)]
        if unknown:
            raise RequestError(400, f"unknown input {', '.join(unknown)}; {takes}")
    if not any_form:
        _check_kinds(given, spec)


def _stem(name: str) -> str:
    """A name without the number at its end."""
    return name.rstrip("0123456789")


def _check_kinds(given: Sequence[Tuple[str, InputValues]], spec: InputSpec) -> None:
    """Inputs of several names are of the declared kind of datatype; those of one name of one kind, which is checked
    where they are read."""
    kinds = [_kind(block.values) for _, block in given]
    wanted = kinds[0] if len({name for name, _ in given}) == 1 else _kind_of(spec)
    for (name, _), kind in zip(given, kinds):
        if kind != wanted:
            raise RequestError(
                400,
                f"input {name} holds {kind}, which continues no rows of {wanted}: the model takes {spec.name}, "
                f"{spec.datatype}, alone",
            )


def _kind_of(spec: InputSpec) -> str:
    return "text" if spec.datatype == "BYTES" else _KINDS[np.dtype(arrays.numpy_dtype(spec.datatype)).kind]


def _kind(values: Any) -> str:
    return _KINDS.get(values.dtype.kind, "text") if isinstance(values, np.ndarray) else "text"


_KINDS = {"b": "booleans", "i": "integers", "u": "integers", "f": "floats"}


def _others(names: Sequence[str], known: Sequence[str]) -> List[str]:
    """Those of the names that are not known, each once, in order."""
    return [name for name in dict.fromkeys(names) if name not in known]


def check_bounds(spec: InputSpec, chunks: Sequence[Chunk], first_row: int) -> Dict[int, str]:
    """The rows with a value below ``spec.low`` or above ``spec.high``, each with what is wrong."""
    if spec.low is None and spec.high is None:
        return {}
    low = -math.inf if spec.low is None else spec.low
    high = math.inf if spec.high is None else spec.high
    wanted = f"from {low:.15g} to {high:.15g}"
    if spec.low is None or spec.high is None:
        wanted = f"at most {high:.15g}" if spec.low is None else f"at least {low:.15g}"
    faults: Dict[int, str] = {}
    for chunk in chunks:
        if chunk.encoding == PREPROCESSED:
            faults.update(arrays.outside(chunk.array, low, high, first_row, wanted))
        first_row += len(chunk)
    return faults
