"""What a client asked and what it gets, freed of any transport: the types between fronts, batcher and upstream.

Nobody changes a value once it is made. They are not ``frozen`` all the same, where each request makes some: that costs
several times as much to fill.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any, Dict, List, Mapping, Optional, Tuple, Union

Parameters = Mapping[str, Union[str, float, int, bool]]
Buffer = Union[bytes, bytearray, memoryview]


@dataclass
class Tensor:
    """One V2 tensor, as input or output.

    ``data`` is row-major little-endian bytes, exactly the shape's product of elements; for BYTES each element is
    its length as u32 followed by its bytes (OIP, binary tensor data extension).
    """

    name: str
    datatype: str
    shape: Tuple[int, ...]
    data: Buffer
    parameters: Parameters = field(default_factory=dict)


@dataclass
class V1Call:
    """A V1 request: one instance a row, as parsed from JSON."""

    model: str
    version: Optional[str]
    explain: bool
    instances: List[Any]
    #: Top-level keys beside ``instances`` (``parameters``, ``signature_name`` …), passed on as they are.
    extra: Mapping[str, Any] = field(default_factory=dict)
    #: The client's request headers as they came, names in lower case; ``core.headers`` says which travel on.
    headers: Mapping[bytes, bytes] = field(default_factory=dict, compare=False)
    #: Bytes of the request's body.
    size: int = field(default=0, compare=False)
    #: Seconds that the client waits, where the request told.
    timeout: Optional[float] = field(default=None, compare=False)


@dataclass
class V2Call:
    """A V2 request. ``id`` belongs to the front and does not travel."""

    model: str
    version: Optional[str]
    explain: bool
    inputs: List[Tensor]
    #: Names of the outputs asked for, or None for all of them.
    outputs: Optional[List[str]] = None
    parameters: Parameters = field(default_factory=dict)
    #: The client's request headers as they came, names in lower case; ``core.headers`` says which travel on.
    headers: Mapping[bytes, bytes] = field(default_factory=dict, compare=False)
    #: Seconds that the client waits, where the request told.
    timeout: Optional[float] = field(default=None, compare=False)


Call = Union[V1Call, V2Call]


@dataclass
class V1Reply:
    """One result a row, in order."""

    results: List[Any]
    #: What the handler says beside the results, such as the classes that it explained.
    parameters: Parameters = field(default_factory=dict)
    #: Bytes of the upstream answer that this was part of; 0 when not known.
    size: int = field(default=0, compare=False)


@dataclass
class V2Reply:
    outputs: List[Tensor]
    model_version: Optional[str] = None
    parameters: Parameters = field(default_factory=dict)
    #: Bytes of the upstream answer that this was part of; 0 when not known.
    size: int = field(default=0, compare=False)


Reply = Union[V1Reply, V2Reply]


@dataclass(frozen=True)
class TensorMetadata:
    """Name, datatype and shape (-1 = variable) of one input or output."""

    name: str
    datatype: str
    shape: Tuple[int, ...]


@dataclass(frozen=True)
class ModelMetadata:
    """What the handler's describe told, or nothing but the name for a handler without one."""

    name: str
    versions: List[str]
    platform: str = "pytorch_eager"
    inputs: List[TensorMetadata] = field(default_factory=list)
    outputs: List[TensorMetadata] = field(default_factory=list)
    #: What the handler understands beyond the stock ones: binary_tensor_data, raw_body, row_errors, independent_rows,
    #: ragged_rows, ragged_inputs, output_lengths.
    extensions: List[str] = field(default_factory=list)
    #: Request headers that the handler reads.
    request_headers: List[str] = field(default_factory=list)
    #: Rows beyond which a batch brings no more rows a second, where the worker has measured that.
    preferred_batch_size: Optional[int] = None
    extra: Dict[str, Any] = field(default_factory=dict)

    @property
    def labels(self) -> List[str]:
        """Names of the classes, in order, where the handler tells them."""
        told = self.extra.get("labels")
        return told if isinstance(told, list) and all(isinstance(label, str) for label in told) else []


@dataclass(frozen=True)
class ModelCapacity:
    """What the model server takes of one model version at a time.

    Args:
        workers: that can answer now; 0 for what is not served.
        batch_size: requests that it hands to a worker together; None where it does not tell.
        job_queue_size: requests that it holds in front of the workers; None where it does not tell.
        use_job_ticket: it takes a request only while a worker waits for one.
    """

    workers: int = 0
    batch_size: Optional[int] = None
    job_queue_size: Optional[int] = None
    use_job_ticket: bool = False
