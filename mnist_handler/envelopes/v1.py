"""KServe V1 (TensorFlow Serving's row format): ``{"instances": [...]}`` to a Request, an Answer to JSON.

An instance is one row:

* An object with one of the keys ``data``, ``body``, ``image_bytes`` and ``b64`` is a row of the input
  ``data``; what stands beside that key (``target`` …) is the row's parameters.
* Any other object holds one input a key, except ``target`` and ``parameters``, which are the row's
  parameters.
* Anything else (text, a number, nested lists) is itself a row of the input ``data``.

In either object the entries of ``parameters`` count as the row's parameters. At the top level whatever stands beside
the rows is the request's parameter as if it stood under ``parameters``; only TensorFlow Serving's ``signature_name``
means nothing here. A value ``{"b64": "…"}``
anywhere is base64 and becomes bytes; other text stays text. Within a request all rows have the same inputs.
"""

from __future__ import annotations

import base64
from typing import Any, Dict, List, Mapping, NamedTuple, Tuple

import numpy as np

from mnist_handler.envelopes.jsoncodec import dumps, jsonable
from mnist_handler.envelopes.tensors import MAX_DIMENSIONS
from mnist_handler.envelopes.worker_context import Model, Reply
from mnist_handler.requests import Answer, InputValues, Output, Ragged, Request, RequestError

DATA_KEYS = ("data", "body", "image_bytes", "b64")
_PARAMETER_KEYS = ("target", "parameters")
_TOP_KEYS = frozenset(("instances", "inputs", "parameters", "signature_name"))
_PLAIN = frozenset({str, int, float, bool, type(None)})
_NO_PARAMETERS: Mapping[str, Any] = {}


class V1Writer(NamedTuple):
    rows: int
    explain: bool

    def reply(self, answer: Answer, model: Model) -> Reply:
        """One entry a row: the only output's value, or an object with the value of every output."""
        for name, output in answer.outputs.items():
            if len(output) != self.rows:
                raise ValueError(f"the handler answered {len(output)} rows of {name} for {self.rows} rows")
        document: Dict[str, Any] = {
            "explanations" if self.explain else "predictions": merge_outputs(answer.outputs, self.rows)
        }
        if answer.parameters:
            document["parameters"] = answer.parameters
        return Reply(dumps(document))


def parse(document: Mapping[str, Any], explain: bool) -> Tuple[V1Writer, Request]:
    """Reads a V1 request.

    Raises:
        RequestError: 400, with the rows at fault where single rows are.
    """
    instances = read_instances(document)
    request = Request(read_rows(instances), explain, _read_top(document), by_row=True)
    return V1Writer(len(instances), explain), request


def _read_top(document: Mapping[str, Any]) -> Mapping[str, Any]:
    """The request's parameters; which of them there are is for the handler to say."""
    parameters = document.get("parameters") or {}
    if not isinstance(parameters, dict):
        raise RequestError(400, '"parameters" must be an object')
    if document.keys() <= _TOP_KEYS:
        return parameters
    beside = {key: value for key, value in document.items() if key not in _TOP_KEYS}
    twice = beside.keys() & parameters.keys()
    if twice:
        raise RequestError(400, f'{_quote(sorted(twice))} both under "parameters" and beside it: send one of them')
    return {**parameters, **beside}


def read_instances(document: Mapping[str, Any]) -> List[Any]:
    """The list under ``instances`` or, as some TensorFlow clients write it, ``inputs``; RequestError 400 if none."""
    if "instances" in document and "inputs" in document:
        raise RequestError(400, 'the body has both "instances" and "inputs": send one of them')
    key = "instances" if "instances" in document else "inputs"
    instances = document.get(key)
    if not isinstance(instances, list) or not instances:
        raise RequestError(400, f'"{key}" must be a list of at least one row')
    return instances


def read_rows(instances: List[Any]) -> List[Tuple[str, InputValues]]:
    """The rows as one InputValues for each input; all InputValues share the rows' parameters."""
    columns: Dict[str, List[Any]] = {}
    parameters: List[Mapping[str, Any]] = []
    faults: Dict[int, str] = {}
    for row, instance in enumerate(instances):
        try:
            values, beside = _read_instance(instance)
            if row == 0 or not columns:
                columns = {name: [] for name in values}
            elif values.keys() != columns.keys():
                raise ValueError(f"its inputs are {_quote(values)}, those of the rows before it {_quote(columns)}")
        except ValueError as error:
            faults[row] = str(error)
            continue
        for name, value in values.items():
            columns[name].append(value)
        parameters.append(beside)
    if faults:
        raise row_error(faults)
    row_parameters = parameters if any(parameters) else []
    return [(name, InputValues(values, row_parameters=row_parameters)) for name, values in columns.items()]


def row_error(faults: Mapping[int, str]) -> RequestError:
    """A 400 whose message names the first row at fault and counts the others."""
    row, text = next(iter(faults.items()))
    others = f" (and {len(faults) - 1} more rows)" if len(faults) > 1 else ""
    return RequestError(400, f"row {row}: {text}{others}", faults)


def merge_outputs(outputs: Mapping[str, Output], rows: int) -> Any:
    """The outputs as a list with one JSON-serialisable entry a row."""
    columns = {name: _column(out) for name, out in outputs.items()}
    if len(columns) == 1:
        return next(iter(columns.values()))
    return [{name: column[row] for name, column in columns.items()} for row in range(rows)]


def _column(output: Output) -> Any:
    if isinstance(output, Ragged):
        return output.by_row()
    return jsonable(output) if isinstance(output, np.ndarray) else output


def decode_base64(value: Any, depth: int = 0) -> Any:
    """The value with every ``{"b64": "…"}`` in it replaced by its bytes.

    Raises:
        ValueError: bad base64, or a value nested deeper than arrays can be.
    """
    if depth > MAX_DIMENSIONS:
        raise ValueError(f"it is nested more than {MAX_DIMENSIONS} deep")
    kind = type(value)
    if kind is dict:
        if len(value) == 1 and type(value.get("b64")) is str:
            return read_base64(value["b64"])
        return {key: decode_base64(item, depth + 1) for key, item in value.items()}
    if kind is list and not _PLAIN.issuperset(map(type, value)):
        return [decode_base64(item, depth + 1) for item in value]
    return value


def read_base64(text: Any) -> bytes:
    """Standard base64; white space between its characters is allowed, anything else is a ValueError."""
    if type(text) is not str:
        raise ValueError('"b64" must hold text')
    try:
        return base64.b64decode(text, validate=True)
    except ValueError:
        try:
            return base64.b64decode("".join(text.split()), validate=True)
        except ValueError:
            raise ValueError('"b64" must hold standard base64') from None


def _read_instance(instance: Any) -> Tuple[Dict[str, Any], Mapping[str, Any]]:
    """One row's value for each input, and its parameters."""
    if type(instance) is not dict:
        return {"data": decode_base64(instance)}, _NO_PARAMETERS
    found = [key for key in DATA_KEYS if key in instance]
    if len(found) > 1:
        raise ValueError(f"it has {_quote(found)}: send one of them")
    if found:
        key = found[0]
        value = read_base64(instance[key]) if key == "b64" else decode_base64(instance[key])
        beside = {name: item for name, item in instance.items() if name != key}
        return {"data": value}, _read_parameters(beside) if beside else _NO_PARAMETERS
    values = {name: decode_base64(item) for name, item in instance.items() if name not in _PARAMETER_KEYS}
    if not values:
        raise ValueError(f"it has no data: give it one of {_quote(DATA_KEYS)} or the model's inputs by name")
    beside = {name: instance[name] for name in _PARAMETER_KEYS if name in instance}
    return values, _read_parameters(beside) if beside else _NO_PARAMETERS


def _read_parameters(beside: Dict[str, Any]) -> Dict[str, Any]:
    nested = beside.pop("parameters", None)
    if nested is None:
        return beside
    if not isinstance(nested, dict):
        raise ValueError('its "parameters" must be an object')
    return {**nested, **beside}


def _quote(names: Any) -> str:
    return ", ".join(f'"{name}"' for name in names)
