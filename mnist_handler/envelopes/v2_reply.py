"""An Answer as a V2 response: JSON, or a JSON part with the outputs' bytes behind it."""

from __future__ import annotations

from typing import Any, Dict, List, Mapping, NamedTuple, Optional, Tuple, Union

import numpy as np

from mnist_handler.envelopes.datatypes import join_elements
from mnist_handler.envelopes.jsoncodec import dumps, jsonable
from mnist_handler.envelopes.tensors import OutputTensor, write_output
from mnist_handler.envelopes.worker_context import OCTETS, Model, Reply
from mnist_handler.requests import Answer, Output, Ragged, RequestError


class V2Writer(NamedTuple):
    #: Echoed where the client gave one.
    id: Optional[str]
    #: Names of the outputs asked for, in this order, or None for all of them.
    outputs: Optional[List[str]]
    #: Outputs for which the client chose binary data or JSON, and what holds for the others.
    binary: Mapping[str, bool]
    binary_default: bool

    def reply(self, answer: Answer, model: Model) -> Reply:
        """The answer with the outputs asked for; RequestError 400 for a name that is none of the model's."""
        return self.write(self.choose(_with_lengths(answer.outputs)), answer.parameters, model)

    def choose(self, outputs: List[Tuple[str, Output]]) -> List[Tuple[str, Output]]:
        """The outputs asked for, of the outputs that there are; RequestError 400 for any other name."""
        if self.outputs is None:
            return outputs
        known = dict(outputs)
        for name in self.outputs:
            if name not in known:
                raise RequestError(400, f'there is no output "{name}": the outputs are {", ".join(known)}')
        return [(name, known[name]) for name in self.outputs]

    def write(self, outputs: List[Tuple[str, Output]], parameters: Mapping[str, Any], model: Model) -> Reply:
        """The outputs in this order; a name may repeat."""
        document: Dict[str, Any] = {} if self.id is None else {"id": self.id}
        document["model_name"] = model.name
        if model.version is not None:
            document["model_version"] = model.version
        if parameters:
            document["parameters"] = parameters
        document["outputs"] = described = []
        blobs: List[Union[bytes, memoryview]] = []
        for name, output in outputs:
            tensor = write_output(output)
            entry: Dict[str, Any] = {"name": name, "shape": tensor.shape, "datatype": tensor.datatype}
            if self.binary.get(name, self.binary_default):
                blob = _bytes_of(tensor)
                blobs.append(blob)
                entry["parameters"] = {"binary_data_size": len(blob)}
            else:
                entry["data"] = _json_data(name, tensor)
            described.append(entry)
        header = dumps(document)
        if not blobs:
            return Reply(header)
        return Reply(b"".join([header, *blobs]), OCTETS, len(header))


def _with_lengths(outputs: Mapping[str, Output]) -> List[Tuple[str, Output]]:
    """Outputs of rows of unequal lengths as an array, filled up, and the lengths in an output ``NAME_length``."""
    told: List[Tuple[str, Output]] = []
    for name, output in outputs.items():
        if isinstance(output, Ragged):
            told += [(name, output.values), (f"{name}_length", output.lengths)]
        else:
            told.append((name, output))
    return told


def _json_data(name: str, tensor: OutputTensor) -> Any:
    if isinstance(tensor.elements, np.ndarray):
        return jsonable(tensor.elements.ravel())
    try:
        return [element.decode() for element in tensor.elements]
    except UnicodeDecodeError:
        raise RequestError(
            400, f'output "{name}" holds bytes that are not UTF-8 text: ask for it with binary_data: true'
        ) from None


def _bytes_of(tensor: OutputTensor) -> Union[bytes, memoryview]:
    if isinstance(tensor.elements, np.ndarray):
        # an array without elements has strides that a memoryview cannot cast
        return tensor.elements.ravel().view(np.uint8).data if tensor.elements.size else b""
    return join_elements(tensor.elements)
