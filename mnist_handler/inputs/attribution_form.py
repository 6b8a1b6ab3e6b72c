"""In which form attributions are asked for: a photograph's are megabytes as numbers, and kilobytes as a picture."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Mapping, Sequence

from mnist_handler.requests import RequestError

FORM_KEYS = frozenset(("datatype", "downsample", "format", "sum_channels"))
_DATATYPES = ("FP32", "FP16")
_FORMATS = ("numbers", "png")
_MOST = 1024


@dataclass(frozen=True)
class AttributionForm:
    """How attributions are made smaller, in this order; the default leaves them as they are."""

    #: [channels, height, width] becomes [height, width].
    sum_channels: bool = False
    #: Blocks of so many by so many elements of the last two dimensions become their sum.
    downsample: int = 1
    half: bool = False
    #: A picture as base64 text: red speaks for the class, blue against it.
    png: bool = False


#: As they are.
AS_THEY_ARE = AttributionForm()


def read_form(common: Mapping[str, Any], row_shapes: Sequence[Sequence[int]]) -> AttributionForm:
    """The form that a request's parameters ask for; RequestError (400) for a wrong one.

    Args:
        row_shapes: of the inputs that are explained.
    """
    if common.keys().isdisjoint(FORM_KEYS):
        return AS_THEY_ARE
    datatype, kind = common.get("datatype", "FP32"), common.get("format", "numbers")
    _choice("datatype", datatype, _DATATYPES)
    _choice("format", kind, _FORMATS)
    summed, block = common.get("sum_channels", False), common.get("downsample", 1)
    if not isinstance(summed, bool):
        raise RequestError(400, f"parameter sum_channels: {summed!r} is not true or false")
    if isinstance(block, bool) or not isinstance(block, int) or not 1 <= block <= _MOST:
        raise RequestError(400, f"parameter downsample: {str(block)[:40]} is not a whole number from 1 to {_MOST}")
    form = AttributionForm(summed, block, datatype == "FP16", kind == "png")
    _check_shapes(form, row_shapes)
    return form


def _check_shapes(form: AttributionForm, row_shapes: Sequence[Sequence[int]]) -> None:
    most = max(map(len, row_shapes), default=0)
    if form.sum_channels and most < 3:
        raise RequestError(400, "sum_channels needs rows of [channels, height, width], which this model does not take")
    if (form.png or form.downsample > 1) and most < 2:
        name = "format png" if form.png else "downsample"
        raise RequestError(400, f"{name} needs rows of two dimensions or three, which this model does not take")
    if form.png and form.half:
        raise RequestError(400, "format png has no datatype: ask for one of them")


def _choice(name: str, value: Any, choices: Sequence[str]) -> None:
    if value not in choices:
        raise RequestError(400, f"parameter {name}: {str(value)[:40]!r} is not one of {', '.join(choices)}")
