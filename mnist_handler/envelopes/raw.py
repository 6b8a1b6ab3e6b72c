"""A body that is no KServe request, as TorchServe's own clients send it: one row in, its bare answer out.

The row is the body's bytes, its text, or its JSON value. In a form with several fields, ``data`` or ``body``
is the row and the others are the request's parameters, since its row is the only one.
"""

from __future__ import annotations

from typing import Any, Mapping, NamedTuple, Tuple

from mnist_handler.envelopes.jsoncodec import dumps
from mnist_handler.envelopes.v1 import merge_outputs, read_rows
from mnist_handler.envelopes.worker_context import OCTETS, Model, Reply
from mnist_handler.requests import Answer, InputValues, Request

TEXT = "text/plain; charset=utf-8"


class RawWriter(NamedTuple):
    def reply(self, answer: Answer, model: Model) -> Reply:
        """Text and bytes as they are, anything else as JSON."""
        for name, output in answer.outputs.items():
            if len(output) != 1:
                raise ValueError(f"the handler answered {len(output)} rows of {name} for one row")
        return write_value(merge_outputs(answer.outputs, 1)[0])


def write_value(value: Any) -> Reply:
    """One row's answer without any wrapping."""
    if isinstance(value, str):
        return Reply(value.encode("utf-8", "replace"), TEXT)
    if isinstance(value, (bytes, bytearray)):
        return Reply(bytes(value), OCTETS)
    return Reply(dumps(value))


def parse(value: Any, fields: Mapping[str, Any], explain: bool) -> Tuple[RawWriter, Request]:
    """Reads a body as one row.

    Args:
        value: bytes, text or a JSON value; an object is read as V1's instances are.
        fields: the other fields of a form.
        explain: the verb.

    Raises:
        RequestError: 400 for an object that is no row.
    """
    if not fields and not isinstance(value, dict):
        return RawWriter(), Request([("data", InputValues([value]))], explain)
    row = {**fields, **value} if isinstance(value, dict) else {**fields, "data": value}
    inputs = read_rows([row])
    parameters = next((block.row_parameters[0] for _, block in inputs if block.row_parameters), {})
    return RawWriter(), Request(
        [(name, InputValues(block.values)) for name, block in inputs], explain, parameters, by_row=True
    )
