"""What a request's inputs must be to be the model's: their names, and the bounds of their values."""

from __future__ import annotations

import math
from typing import Dict, List, Sequence

from mnist_handler.config import ConfigError
from mnist_handler.inputs import arrays
from mnist_handler.inputs.spec import READY, InputSpec, Piece
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
        if spec.datatype not in arrays.DATATYPES:
            raise ConfigError(
                f"input {spec.name}: a model takes no {spec.datatype}, only {', '.join(arrays.DATATYPES)}"
            )


def check_names(given: Sequence[str], wanted: Sequence[str]) -> None:
    """Raise RequestError (400) unless each input that is wanted is given, once, and no other."""
    takes = f"the model takes {', '.join(wanted)}"
    unknown = _others(given, wanted)
    if unknown:
        raise RequestError(400, f"unknown input {', '.join(unknown)}; {takes}")
    missing = _others(wanted, given)
    if missing:
        verb = "is" if len(missing) == 1 else "are"
        raise RequestError(400, f"input {', '.join(missing)} {verb} missing; {takes}")
    twice = sorted({name for name in given if given.count(name) > 1})
    if twice:
        raise RequestError(400, f"input {', '.join(twice)} more than once; {takes}, each once")


def _others(names: Sequence[str], known: Sequence[str]) -> List[str]:
    """Those of the names that are not known, each once, in order."""
    return [name for name in dict.fromkeys(names) if name not in known]


def check_bounds(spec: InputSpec, pieces: Sequence[Piece], first_row: int) -> Dict[int, str]:
    """The rows with a value below ``spec.low`` or above ``spec.high``, each with what is wrong."""
    if spec.low is None and spec.high is None:
        return {}
    low = -math.inf if spec.low is None else spec.low
    high = math.inf if spec.high is None else spec.high
    wanted = f"from {low:.15g} to {high:.15g}"
    if spec.low is None or spec.high is None:
        wanted = f"at most {high:.15g}" if spec.low is None else f"at least {low:.15g}"
    faults: Dict[int, str] = {}
    for piece in pieces:
        if piece.form == READY:
            faults.update(arrays.outside(piece.array, low, high, first_row, wanted))
        first_row += len(piece)
    return faults
