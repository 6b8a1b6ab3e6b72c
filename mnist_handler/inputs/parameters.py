"""What a request asks for beside its rows: ``parameters`` on request, input and row, each checked."""

from __future__ import annotations

import math
from dataclasses import dataclass, field
from typing import Any, Dict, FrozenSet, List, Mapping, Optional, Sequence, Tuple

from mnist_handler.config import ConfigError
from mnist_handler.inputs.attribution_form import AS_THEY_ARE, FORM_KEYS, AttributionForm, read_form
from mnist_handler.requests import Request, RequestError, row_error

#: The protocol's own; they mean something to other parts, or to nobody here.
RESERVED = frozenset(
    [
        *("binary_data", "binary_data_output", "binary_data_size", "classification", "content_type", "headers"),
        *("priority", "sequence_end", "sequence_id", "sequence_start", "timeout"),
    ]
)
#: A prediction leaves ``target`` alone: one request file may serve both verbs.
PREDICT_KEYS = frozenset(("normalized", "probabilities", "target", "top_k"))
EXPLAIN_KEYS = frozenset(("convergence_delta", "method", "normalized", "target", "targets")) | FORM_KEYS
#: What a V1 row may say of itself; everything else counts for all rows.
ROW_KEYS = frozenset(("normalized", "target"))


@dataclass(frozen=True)
class ParameterSpec:
    """One number that a method takes: its default and its bounds, both included."""

    default: float
    low: float
    high: float
    whole: bool = True

    def read(self, name: str, value: Any) -> float:
        if isinstance(value, bool) or not isinstance(value, (int, float)) or not math.isfinite(value):
            raise _bad(name, value, f"a number from {self.low:g} to {self.high:g}")
        if (self.whole and value != int(value)) or not self.low <= value <= self.high:
            kind = "whole number" if self.whole else "number"
            raise _bad(name, value, f"a {kind} from {self.low:g} to {self.high:g}")
        return int(value) if self.whole else float(value)


#: Integers of the protocol have 64 bits.
_WIDEST = 2**63


@dataclass(frozen=True)
class DeclaredParameter:
    """A parameter of one handler's own: it stands in the metadata, is checked, and reaches the handler's methods.

    Args:
        kind: bool, int, float or str; an int will do for a float.
        default: what holds where a request does not say.
        low, high: bounds of a number, both included.
        choices: the values that there are, or empty.
        text: what it means, for whoever reads the metadata.
    """

    name: str
    kind: type
    default: Any
    low: Optional[float] = None
    high: Optional[float] = None
    choices: Tuple[Any, ...] = ()
    text: str = ""

    def read(self, value: Any) -> Any:
        """The value, checked; RequestError (400) where it is none."""
        if isinstance(value, int) and abs(value) > _WIDEST:
            raise _bad(self.name, value, self._wanted())
        given, value = value, float(value) if self.kind is float and type(value) is int else value
        low = -math.inf if self.low is None else self.low
        high = math.inf if self.high is None else self.high
        good = type(value) is self.kind and (not self.choices or value in self.choices)
        if good and self.kind in (int, float):
            good = low <= value <= high and math.isfinite(value)
        if not good:
            raise _bad(self.name, given, self._wanted())
        return value

    def _wanted(self) -> str:
        if self.choices:
            return f"one of {', '.join(map(str, self.choices))}"
        words = {bool: "true or false", int: "a whole number", float: "a number", str: "text"}[self.kind]
        if self.low is not None and self.high is not None:
            return f"{words} from {self.low:g} to {self.high:g}"
        if self.low is not None or self.high is not None:
            return f"{words} of at {'least' if self.high is None else 'most'} {(self.low or self.high or 0):g}"
        return words

    def describe(self) -> Dict[str, Any]:
        """Its entry in the model's metadata."""
        datatype = {bool: "BOOL", int: "INT64", float: "FP64", str: "BYTES"}[self.kind]
        told = {"minimum": self.low, "maximum": self.high, "choices": list(self.choices), "description": self.text}
        own = {key: value for key, value in told.items() if value not in (None, [], "")}
        return {"name": self.name, "datatype": datatype, "default": self.default, **own}


def check_declared(declared: Sequence[DeclaredParameter]) -> None:
    """Raise ConfigError for a parameter that a request could not set, or whose default it could not be."""
    names = [one.name for one in declared]
    for one in declared:
        if one.name in RESERVED | PREDICT_KEYS | EXPLAIN_KEYS or names.count(one.name) > 1:
            raise ConfigError(f"parameter {one.name!r} is there already")
        if not one.name.isidentifier() or one.kind not in (bool, int, float, str):
            raise ConfigError(
                f"parameter {one.name!r}: its name must be a Python name, its kind bool, int, float or str"
            )
        try:
            one.read(one.default)
        except RequestError as error:
            raise ConfigError(f"its default: {error}") from error


def read_declared(declared: Sequence[DeclaredParameter], common: Mapping[str, Any]) -> Dict[str, Any]:
    """A value for each declared parameter: the request's or the default; RequestError (400) for a wrong one."""
    return {one.name: one.read(common[one.name]) if one.name in common else one.default for one in declared}


#: What a client hears that asks for what only answers by classes have.
NO_CLASSES = "this model gives no classes: no probabilities, no top_k"


@dataclass(frozen=True)
class PredictOptions:
    probabilities: bool = False
    #: Number of best classes wanted beside the label, or None.
    top_k: Optional[int] = None


@dataclass(frozen=True)
class ExplainOptions:
    """Hashable, so that rows with equal options share one attribution."""

    method: str
    settings: Tuple[Tuple[str, float], ...]
    delta: bool = False
    #: Whether the explained class is an output of its own.
    targets: bool = False
    form: AttributionForm = AS_THEY_ARE

    @property
    def call(self) -> Tuple[str, Tuple[Tuple[str, float], ...]]:
        """What rows must have in common to be explained together."""
        return self.method, self.settings


@dataclass(frozen=True)
class RequestParameters:
    """A request's parameters from every level; a row's own go before its input's, those before the request's."""

    common: Mapping[str, Any]
    #: One mapping a row, for V1; empty when no row has any.
    by_row: List[Mapping[str, Any]] = field(default_factory=list)

    def of_row(self, row: int, key: str) -> Any:
        own = self.by_row[row] if row < len(self.by_row) else {}
        return own[key] if key in own else self.common.get(key)


_NOTHING = RequestParameters({})


def collect(request: Request, known: FrozenSet[str]) -> RequestParameters:
    """Bring a request's parameters together.

    Raises:
        RequestError: 400, an unknown parameter, or on a row one of the request's; for rows, naming them.
    """
    common: Dict[str, Any] = dict(request.parameters)
    by_row: List[Mapping[str, Any]] = []
    for _, block in request.inputs:
        if block.parameters:
            common.update(block.parameters)
        by_row = by_row or block.row_parameters  # a V1 request's inputs share them
    if not common and not by_row:
        return _NOTHING
    unknown = _unknown(common, known)
    if unknown:
        raise RequestError(400, unknown)
    faults = {row: fault for row, fault in enumerate(_row_fault(own, known) for own in by_row) if fault}
    if faults:
        raise row_error(faults)
    return RequestParameters({key: value for key, value in common.items() if key not in RESERVED}, by_row)


def _unknown(given: Mapping[str, Any], allowed: FrozenSet[str]) -> str:
    """What is wrong with the first unknown parameter, or nothing."""
    if given.keys() <= allowed:
        return ""
    unknown = sorted(str(key) for key in given if key not in allowed and key not in RESERVED)
    return f"unknown parameter {unknown[0]!r}; known are {', '.join(sorted(allowed))}" if unknown else ""


def _row_fault(own: Mapping[str, Any], known: FrozenSet[str]) -> str:
    """Also a known parameter that counts for the whole request: honoured for one row, it would be lost on others."""
    if own.keys() <= ROW_KEYS:
        return ""
    common = sorted(str(key) for key in own if key in known and key not in ROW_KEYS)
    if common:
        return f'{common[0]} counts for all rows: put {common[0]} under the request\'s "parameters"'
    return _unknown(own, known)


def predict_options(asked: RequestParameters, classes: Optional[int]) -> PredictOptions:
    """Raises RequestError (400) for a value of the wrong kind or out of its range.

    Args:
        classes: that the model's answers are of; None where they are of none, which leaves nothing to choose.
    """
    common = asked.common
    if not common:
        return PredictOptions()
    top_k = common.get("top_k")
    if classes is None:
        if top_k is not None or read_flag("probabilities", common.get("probabilities")):
            raise RequestError(400, NO_CLASSES)
        return PredictOptions()
    if top_k is not None:
        top_k = int(ParameterSpec(1, 1, classes).read("top_k", top_k))
    return PredictOptions(read_flag("probabilities", common.get("probabilities")), top_k)


def explain_options(
    asked: RequestParameters,
    methods: Mapping[str, Mapping[str, ParameterSpec]],
    default: str,
    row_shapes: Sequence[Sequence[int]],
    declared: Sequence[DeclaredParameter] = (),
) -> ExplainOptions:
    """Raises RequestError (400) for an unknown method, or a parameter that the method does not take.

    Args:
        row_shapes: of the inputs that are explained.
        declared: the handler's own parameters, which go with any method.
    """
    common = asked.common
    method = common.get("method", default)
    if not isinstance(method, str) or method not in methods:
        raise _bad("method", method, f"one of {', '.join(methods)}")
    takes = methods[method]
    own_names = {one.name for one in declared}
    for name in common:
        if name not in takes and name not in EXPLAIN_KEYS and name not in own_names:
            own = f"it takes {', '.join(takes)}" if takes else "it takes none"
            raise RequestError(400, f"method {method} has no parameter {name!r}; {own}")
    settings = tuple((name, one.read(name, common.get(name, one.default))) for name, one in takes.items())
    delta = read_flag("convergence_delta", common.get("convergence_delta"))
    form = read_form(common, row_shapes)
    return ExplainOptions(method, settings, delta, read_flag("targets", common.get("targets")), form)


def read_flag(name: str, value: Any) -> bool:
    if value is None:
        return False
    if not isinstance(value, bool):
        raise _bad(name, value, "true or false")
    return value


def _bad(name: str, value: Any, wanted: str) -> RequestError:
    shown = repr(value)
    return RequestError(400, f"parameter {name}: {shown if len(shown) < 60 else shown[:57] + '...'} is not {wanted}")
