"""One client's request as the flat rows that stock handlers take, and their results as its answer."""

from __future__ import annotations

from typing import Any, Callable, Dict, List, Mapping, NamedTuple, Tuple

import numpy as np

from mnist_handler.envelopes import v2
from mnist_handler.envelopes.jsoncodec import dumps
from mnist_handler.envelopes.protocol import RawBody, V1Body, V2Body, open_body
from mnist_handler.envelopes.raw import write_value
from mnist_handler.envelopes.v1 import decode_base64, read_instances, row_error
from mnist_handler.envelopes.worker_context import Model, Reply
from mnist_handler.requests import Output, RequestError


class Flat(NamedTuple):
    rows: List[Any]
    #: Takes one result a row.
    write: Callable[[List[Any], Model], Reply]


def flatten(
    item: Mapping[str, Any], headers: Mapping[str, Any], explain: bool, bare_raw: bool, decodes_base64: bool
) -> Flat:
    """Reads one client's request.

    Args:
        item: the body's fields as TorchServe hands them over.
        headers: ``Context.get_all_request_header``.
        explain: the verb.
        bare_raw: whether a raw body's row is its value rather than ``item``.
        decodes_base64: whether ``{"b64": …}`` in V1 instances becomes bytes.

    Raises:
        RequestError: 400, saying what is wrong and where.
    """
    body = open_body(item, headers)
    try:
        if isinstance(body, V1Body):
            return _flatten_v1(body, explain, decodes_base64)
        if isinstance(body, V2Body):
            return _flatten_v2(body, explain)
    except RecursionError:
        raise RequestError(400, "the body is nested too deeply") from None
    return _flatten_raw(body, item, bare_raw)


def _flatten_v1(body: V1Body, explain: bool, decodes_base64: bool) -> Flat:
    rows = read_instances(body.document)
    if decodes_base64:
        rows = _decode_rows(rows)
    key = "explanations" if explain else "predictions"
    return Flat(rows, lambda results, model: Reply(dumps({key: [_plain(result) for result in results]})))


def _decode_rows(rows: List[Any]) -> List[Any]:
    decoded: List[Any] = []
    faults: Dict[int, str] = {}
    for row, instance in enumerate(rows):
        try:
            decoded.append(decode_base64(instance))
        except ValueError as error:
            faults[row] = str(error)
    if faults:
        raise row_error(faults)
    return decoded


def _flatten_v2(body: V2Body, explain: bool) -> Flat:
    """Outputs are one an input, in order: ``predict`` or ``explain`` where there is one, else the inputs' names."""
    writer, _ = v2.read_writer(body.document)
    tensors = v2.read_inputs(body.document, body.tail)
    rows: List[Any] = []
    names: List[Tuple[str, int]] = []
    for tensor in tensors:
        made = _tensor_rows(tensor)
        rows.extend(made)
        names.append((tensor.name, len(made)))
    if len(names) == 1:
        names = [("explain" if explain else "predict", names[0][1])]

    def write(results: List[Any], model: Model) -> Reply:
        outputs: List[Tuple[str, Output]] = []
        start = 0
        for name, count in names:
            outputs.append((name, [_plain(result) for result in results[start : start + count]]))
            start += count
        return writer.write(writer.choose(outputs), {}, model)

    return Flat(rows, write)


def _tensor_rows(tensor: v2.InputTensor) -> List[Dict[str, Any]]:
    described = {"name": tensor.name, "shape": list(tensor.shape), "datatype": tensor.datatype}
    if tensor.datatype != "BYTES":
        return [{**described, "data": np.asarray(tensor.values).tolist()}]
    elements = tensor.values.ravel().tolist() if isinstance(tensor.values, np.ndarray) else tensor.values
    # stock handlers take text for base64 and bytes for a file
    data = elements if tensor.binary else [element.decode() for element in elements]
    return [{**described, "shape": [1], "data": element} for element in data]


def _flatten_raw(body: RawBody, item: Mapping[str, Any], bare_raw: bool) -> Flat:
    return Flat([body.value if bare_raw else dict(item)], lambda results, model: write_value(_plain(results[0])))


def _plain(result: Any) -> Any:
    """The result with a torch tensor, which JSON and NumPy do not know, as lists."""
    if isinstance(result, (np.ndarray, np.generic)) or not hasattr(result, "tolist"):
        return result
    return result.tolist()
