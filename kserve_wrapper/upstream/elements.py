"""BYTES inputs of several elements for TorchServe's envelope ``kservev2``, which reads the first element of an input.

Each element becomes an input of its own, which that envelope takes for a row, and the outputs become one again. Pure
functions.
"""

from __future__ import annotations

from dataclasses import replace
from typing import Optional

from kserve_wrapper.core.calls import Call, ModelMetadata, Reply, Tensor, V2Call, V2Reply
from kserve_wrapper.core.errors import InvalidRequest
from kserve_wrapper.tensors.datatypes import bytes_elements, join_bytes

#: The envelope that reads ``data[0]`` of BYTES. Source: TorchServe's request_envelope/kservev2.py, 0.9 to 0.12.
_READS_FIRST = "kservev2"
_ALONE = "send each element in a request of its own"


def one_by_one(call: Call, metadata: ModelMetadata, envelope: Optional[str]) -> Call:
    """The call with an input for each element; the very call where nothing of it would be lost.

    Args:
        metadata: a handler that lists extensions has envelopes of its own, which read every element.
        envelope: ``service_envelope`` as configured.

    Raises:
        InvalidRequest: a BYTES input without an element, or of several elements beside other inputs: nothing tells
            which of them belong together.
    """
    if metadata.extensions or envelope != _READS_FIRST or not isinstance(call, V2Call):
        return call
    texts = [(tensor, bytes_elements(tensor.data)) for tensor in call.inputs if tensor.datatype == "BYTES"]
    for tensor, elements in texts:
        if len(elements) == 1:
            continue
        if not elements:
            raise InvalidRequest(f"input {tensor.name!r} has no element")
        if len(call.inputs) > 1:
            raise InvalidRequest(
                f"input {tensor.name!r} has {len(elements)} elements beside other inputs, of which TorchServe's "
                f"envelope {envelope} reads the first alone: send a request for each row, with one element in each "
                "BYTES input"
            )
        return replace(call, inputs=[_only(tensor, element) for element in elements])
    return call


def joined(sent: Call, reply: Reply) -> Reply:
    """The answer to a call that ``one_by_one`` made: one output whose dimension 0 counts the elements.

    An element's single value is its row; several values are a row of so many.

    Raises:
        InvalidRequest: the handler did not answer each element, or not all in one form.
    """
    if not isinstance(sent, V2Call) or not isinstance(reply, V2Reply):
        return reply
    name, rows, outputs = sent.inputs[0].name, len(sent.inputs), reply.outputs
    if len(outputs) != rows:
        raise InvalidRequest(
            f"the model gave {len(outputs)} outputs for the {rows} elements of input {name!r}: {_ALONE}"
        )
    first = outputs[0]
    if any((one.datatype, one.shape) != (first.datatype, first.shape) for one in outputs):
        raise InvalidRequest(
            f"the model's answers to the {rows} elements of input {name!r} differ in datatype or shape, so that no one "
            f"output holds them: {_ALONE}"
        )
    tail = () if first.shape == (1,) else first.shape
    whole = replace(first, shape=(rows, *tail), data=b"".join([one.data for one in outputs]))
    return replace(reply, outputs=[whole])


def _only(tensor: Tensor, element: bytes) -> Tensor:
    return replace(tensor, shape=(1,), data=join_bytes([element]))
