"""What a person fills in for a model, told by the model's own V2 metadata, and the requests that it becomes."""

from __future__ import annotations

import base64
import io
import json
import math
from dataclasses import dataclass
from typing import Any, Dict, List, Mapping, Optional, Sequence, Tuple

import numpy as np
from PIL import Image

from kserve_wrapper.trying import pictures

IMAGE, TEXT, TABLE = "image", "text", "table"
#: A row of no more numbers has a column for each.
_COLUMNS = 32
#: Of a handler that does not name its own.
METHODS = ("integrated_gradients", "saliency", "input_x_gradient", "deep_lift", "gradient_shap", "occlusion")
_WHOLE = ("INT8", "INT16", "INT32", "INT64", "UINT8", "UINT16", "UINT32", "UINT64")


class FormError(ValueError):
    """What was filled in is no request; the message says where."""


@dataclass(frozen=True)
class Tensor:
    """An input: ``shape`` is a row's."""

    name: str
    datatype: str
    shape: Tuple[int, ...]

    @property
    def columns(self) -> List[str]:
        """Of the table: a column an element, or one for all of them where there are many, or any number."""
        size = math.prod(self.shape)
        if self.shape == () or not 0 < size <= _COLUMNS or min(self.shape) < 1:
            return [self.name]
        return [f"{self.name}[{', '.join(map(str, place))}]" for place in np.ndindex(self.shape)]


@dataclass(frozen=True)
class Form:
    """How a model is asked."""

    kind: str
    inputs: Tuple[Tensor, ...]
    #: Names of the classes, or their numbers; empty where the model gives something else.
    labels: Tuple[str, ...]
    methods: Tuple[str, ...]
    #: Images go as they are, encoded; else as pixels.
    encoded: bool
    #: The shorter side of a picture before the model crops its centre; 0 = it is squashed.
    resize: int
    #: Whether the answer may have ``probabilities``.
    scored: bool

    @property
    def columns(self) -> List[str]:
        return [column for tensor in self.inputs for column in tensor.columns]

    @property
    def mode(self) -> str:
        """Pillow's name for the pixels of a model that takes pictures."""
        return "L" if self.inputs[0].shape[0] == 1 else "RGB"

    def label(self, number: int) -> str:
        """The name of a class."""
        return self.labels[number] if 0 <= number < len(self.labels) else str(number)


def read_form(metadata: Mapping[str, Any]) -> Form:
    """The form of a model by its metadata; of one that tells nothing, an empty table. Raises FormError."""
    inputs = tuple(map(_tensor, metadata.get("inputs") or ()))
    told = {key: _plain(value) for key, value in (metadata.get("properties") or {}).items()}
    optional = {one.get("name"): one for one in _objects(told.get("optional_outputs"))}
    classes = (optional.get("probabilities") or {}).get("shape") or [-1, 0]
    labels = told.get("labels") or [str(number) for number in range(max(0, classes[-1]))]
    methods = [str(one) for one in told.get("methods") or METHODS] if "explain" in optional else []
    return Form(
        kind=_kind(inputs),
        inputs=inputs,
        labels=tuple(map(str, labels)),
        methods=tuple(methods),
        encoded="tensors" in told,
        resize=int(told.get("resize") or 0),
        scored="probabilities" in optional,
    )


def _kind(inputs: Sequence[Tensor]) -> str:
    if len(inputs) == 1:
        [only] = inputs
        if only.datatype == "BYTES" and math.prod(only.shape) == 1:
            return TEXT
        if len(only.shape) == 3 and only.shape[0] in (1, 3):
            return IMAGE
    return TABLE


def _tensor(described: Mapping[str, Any]) -> Tensor:
    try:
        shape = tuple(int(side) for side in described["shape"][1:])
        return Tensor(str(described["name"]), str(described["datatype"]), shape)
    except (KeyError, TypeError, ValueError):
        raise FormError(f"the model's metadata has an input without name, datatype and shape: {described}") from None


def _plain(value: Any) -> Any:
    """A property: text, or JSON as text."""
    try:
        return json.loads(value)
    except (TypeError, ValueError):
        return value


def _objects(value: Any) -> List[Dict[str, Any]]:
    return [one for one in value if isinstance(one, dict)] if isinstance(value, list) else []


def to_send(form: Form, picture: Image.Image) -> Image.Image:
    """A large picture as small as the model makes it by itself."""
    _, height, width = form.inputs[0].shape
    # Pixels that do not go encoded are squashed here.
    return pictures.reduced(picture, (width, height), form.resize if form.encoded else 0)


def image_inputs(form: Form, picture: Image.Image) -> List[Dict[str, Any]]:
    """The V2 inputs of a picture."""
    [tensor] = form.inputs
    channels, height, width = tensor.shape
    if form.encoded:
        file = io.BytesIO()
        picture.save(file, "PNG")
        return [_input(tensor.name, "BYTES", [1], [base64.b64encode(file.getvalue()).decode()])]
    sides = (width if width > 0 else picture.width, height if height > 0 else picture.height)
    pixels = np.asarray(picture.convert(form.mode).resize(sides), np.float32).reshape(sides[1], sides[0], channels)
    values = pixels.transpose(2, 0, 1)
    if tensor.datatype.startswith(("FP", "BF")):
        data = [round(float(value), 4) for value in (values / 255).ravel()]
    else:
        data = values.astype(int).ravel().tolist()
    return [_input(tensor.name, tensor.datatype, [1, channels, sides[1], sides[0]], data)]


def text_inputs(form: Form, text: str) -> List[Dict[str, Any]]:
    """The V2 inputs of one text."""
    [tensor] = form.inputs
    return [_input(tensor.name, "BYTES", [1, *tensor.shape], [text])]


def table_inputs(form: Form, rows: Sequence[Sequence[Any]]) -> List[Dict[str, Any]]:
    """The V2 inputs of a table's rows; wholly empty ones are left out.

    Raises:
        FormError: a cell is not of its column's kind, or there is no row.
    """
    filled = [(number, row) for number, row in enumerate(rows, 1) if any(str(cell or "").strip() for cell in row)]
    if not filled:
        raise FormError("the table is empty: fill in a row")
    inputs, start = [], 0
    for tensor in form.inputs:
        width = len(tensor.columns)
        data = [_cells(tensor, row[start : start + width], number) for number, row in filled]
        lengths = {len(one) for one in data}
        if len(lengths) > 1:
            raise FormError(f"{tensor.name}: rows of {sorted(lengths)} values cannot go together; ask them one by one")
        inputs.append(_input(tensor.name, tensor.datatype, _shape(tensor, data), [v for one in data for v in one]))
        start += width
    return inputs


def _shape(tensor: Tensor, data: Sequence[Sequence[Any]]) -> List[int]:
    free = [place for place, side in enumerate(tensor.shape) if side < 1]
    known = math.prod(side for side in tensor.shape if side > 0)
    if len(free) > 1 or len(data[0]) % known:
        raise FormError(f"{tensor.name}: {len(data[0])} values do not make a row of shape {list(tensor.shape)}")
    return [len(data), *(len(data[0]) // known if side < 1 else side for side in tensor.shape)]


def _cells(tensor: Tensor, cells: Sequence[Any], row: int) -> List[Any]:
    """The values of one row of one input."""
    values: List[Any] = list(cells)
    if len(tensor.columns) == 1 and tensor.shape != () and tensor.datatype != "BYTES":
        values = str(cells[0] or "").replace(",", " ").split()
        size = math.prod(tensor.shape)
        if size > 0 and len(values) != size:
            raise FormError(f"row {row}, {tensor.name}: {len(values)} values, and the model takes {size}")
    return [_value(tensor.datatype, cell, f"row {row}, {name}") for name, cell in zip(_names(tensor, values), values)]


def _names(tensor: Tensor, values: Sequence[Any]) -> Sequence[str]:
    return tensor.columns if len(tensor.columns) == len(values) else [tensor.name] * len(values)


def _value(datatype: str, cell: Any, where: str) -> Any:
    text = str("" if cell is None else cell).strip()
    if datatype == "BYTES":
        return text
    if datatype == "BOOL":
        if text.lower() not in ("true", "false", "1", "0"):
            raise FormError(f"{where}: {text!r} is neither true nor false")
        return text.lower() in ("true", "1")
    kind = "whole number" if datatype in _WHOLE else "number"
    try:
        number = float(text)
        if not math.isfinite(number) or (datatype in _WHOLE and number != int(number)):
            raise ValueError
    except ValueError:
        raise FormError(f"{where}: {text!r} is no {kind}") from None
    return int(text if text.lstrip("+-").isdigit() else number) if datatype in _WHOLE else number


def _input(name: str, datatype: str, shape: List[int], data: List[Any]) -> Dict[str, Any]:
    return {"name": name, "datatype": datatype, "shape": shape, "data": data}


def predict_request(form: Form, inputs: List[Dict[str, Any]]) -> Dict[str, Any]:
    """What is posted to ``infer``."""
    return {"inputs": inputs, "parameters": {"probabilities": True}} if form.scored else {"inputs": inputs}


def explain_request(inputs: List[Dict[str, Any]], method: str, target: Optional[int]) -> Dict[str, Any]:
    """What is posted to ``explain``: of the predicted class where ``target`` is None."""
    parameters: Dict[str, Any] = {"method": method, "targets": True}
    if target is not None:
        parameters["target"] = target
    return {"inputs": inputs, "parameters": parameters}
