"""What a page shows of an answer: classes with their scores, other outputs as text, and who said why."""

from __future__ import annotations

import json
import shlex
from dataclasses import dataclass
from typing import Any, Dict, List, Mapping, Optional

import numpy as np

from kserve_wrapper.trying.client import ServerError
from kserve_wrapper.trying.forms import Form

#: Classes that have a bar.
BARS = 5
#: Values of an output that is no class, before it is cut.
_SHOWN = 12
#: A longer request does not fit into a line that a person copies.
_LINE = 6000


def outputs(body: Mapping[str, Any]) -> Dict[str, np.ndarray[Any, Any]]:
    """The arrays of a V2 answer, by name.

    Raises:
        ServerError: the answer has none, or one whose data do not fit its shape.
    """
    found = {}
    try:
        for one in body["outputs"]:
            kind = np.object_ if one["datatype"] == "BYTES" else np.float64
            found[str(one["name"])] = np.array(one["data"], dtype=kind).reshape([int(side) for side in one["shape"]])
    except (KeyError, TypeError, ValueError) as error:
        raise ServerError(f"the answer is none of the protocol: {error!r}") from None
    return found


def scores(form: Form, arrays: Mapping[str, np.ndarray[Any, Any]], row: int = 0) -> Dict[str, float]:
    """Probability by class of one row, the best first; empty where the model gives none."""
    if "probabilities" not in arrays:
        return {}
    values = arrays["probabilities"][row].ravel()
    best = np.argsort(values)[::-1][:BARS]
    return {form.label(int(number)): float(values[number]) for number in best}


def in_words(form: Form, arrays: Mapping[str, np.ndarray[Any, Any]], row: int = 0) -> str:
    """The answer of one row as a person says it: ``a 2, 99.9%``, or the outputs by name."""
    best = scores(form, arrays, row)
    if best:
        name, share = next(iter(best.items()))
        return f"{class_in_words(name)}, {share:.1%}"
    return "; ".join(f"{name}: {_values(values[row])}" for name, values in arrays.items() if len(values) > row)


def class_in_words(name: str) -> str:
    """A class's name; one that is a number is called "a 2"."""
    return f"a {name}" if name.isdigit() else name


def _values(values: Any) -> str:
    flat = np.asarray(values, dtype=object).ravel().tolist()
    shown = ", ".join(one if isinstance(one, str) else f"{one:.6g}" for one in flat[:_SHOWN])
    return shown if len(flat) <= _SHOWN else f"{shown}, … ({len(flat)} values)"


@dataclass(frozen=True)
class Explanation:
    """Attributions of one row, of which class, and the words where the row was text."""

    values: np.ndarray[Any, Any]
    target: str
    words: Optional[List[str]] = None


def explanations(form: Form, body: Mapping[str, Any], row: int = 0) -> List[Explanation]:
    """Of each input that was explained, in the model's order. Raises ServerError."""
    arrays = outputs(body)
    target = _target(form, body, arrays, row)
    found = []
    for number in range(len(arrays)):
        suffix = f"_{number}" if number else ""
        if f"explain{suffix}" not in arrays:
            break
        values = arrays[f"explain{suffix}"][row]
        words = arrays.get(f"tokens{suffix}")
        length = arrays.get(f"explain{suffix}_length")
        if length is not None:
            values = values[: int(length.ravel()[row])]
        found.append(
            Explanation(values, target, None if words is None else [str(one) for one in words[row][: len(values)]])
        )
    if not found:
        raise ServerError(f"the explanation has no output explain, only {', '.join(arrays) or 'none'}")
    return found


def _target(form: Form, body: Mapping[str, Any], arrays: Mapping[str, np.ndarray[Any, Any]], row: int) -> str:
    if "target" in arrays:
        value = arrays["target"].ravel()[row]
        return value if isinstance(value, str) else form.label(int(value))
    named = str((body.get("parameters") or {}).get("targets", "")).split(",")
    return form.label(int(named[row])) if row < len(named) and named[row].isdigit() else "the answer"


def curl(url: str, request: Any, file: str) -> str:
    """The line that a person types for a request; a long one is read from ``file``."""
    body = json.dumps(request, separators=(",", ":"))
    return f"curl {shlex.quote(url)} -d " + (shlex.quote(body) if len(body) <= _LINE else f"@{file}")
