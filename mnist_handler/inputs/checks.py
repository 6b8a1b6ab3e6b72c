"""What a request's inputs must be to be the model's: their names, and the bounds of their values."""

from __future__ import annotations

import math
from typing import Dict, List, Sequence

from mnist_handler.config import ConfigError
from mnist_handler.inputs import arrays
from mnist_handler.inputs.spec import PREPROCESSED, Chunk, InputSpec
from mnist_handler.requests import RequestError

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
