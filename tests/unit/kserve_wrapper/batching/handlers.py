"""Handlers that know nothing of this project, as functions of one upstream request, and an upstream that runs them."""

from __future__ import annotations

import asyncio
from typing import Any, Callable, Dict, List, Mapping, Optional

import numpy as np

from kserve_wrapper.core.calls import Call, ModelMetadata, Reply, Tensor, V1Call, V1Reply, V2Call, V2Reply
from kserve_wrapper.core.errors import (
    BadGateway,
    DeadlineExceeded,
    InternalError,
    InvalidRequest,
    NotFound,
    OutOfResources,
    Unavailable,
    WrapperError,
)
from kserve_wrapper.tensors.datatypes import join_bytes
from kserve_wrapper.upstream.errors import WorkerLost

#: Rows are lists of integers. A row that begins with one of these is what the handlers stumble over.
BAD, WORSE = -1, -2

#: From the rows and the request headers to one result a row, or to anything else.
Handler = Callable[[List[List[int]], Mapping[str, str]], Any]


def echo(rows: List[List[int]], headers: Mapping[str, str]) -> Any:
    return rows


def first_row_twice(rows: List[List[int]], headers: Mapping[str, str]) -> Any:
    """Answers the first row alone, with a list."""
    return [rows[0], [-n for n in rows[0]]]


def first_row(rows: List[List[int]], headers: Mapping[str, str]) -> Any:
    return rows[:1]


def one_more(rows: List[List[int]], headers: Mapping[str, str]) -> Any:
    return [*rows, [0]]


def one_object(rows: List[List[int]], headers: Mapping[str, str]) -> Any:
    return {"rows": len(rows)}


def total(rows: List[List[int]], headers: Mapping[str, str]) -> Any:
    return [sum(map(sum, rows))] * len(rows)


def how_many(rows: List[List[int]], headers: Mapping[str, str]) -> Any:
    return [len(rows)] * len(rows)


def tenant(rows: List[List[int]], headers: Mapping[str, str]) -> Any:
    return [[headers.get("x-tenant"), *row] for row in rows]


def raising(error: Callable[[], WrapperError]) -> Handler:
    """An error of the handler's own for one row, which says nothing of the others."""

    def handle(rows: List[List[int]], headers: Mapping[str, str]) -> Any:
        if any(row[:1] == [BAD] for row in rows):
            raise error()
        return rows

    return handle


def naming_rows(rows: List[List[int]], headers: Mapping[str, str]) -> Any:
    bad = {index: "is bad" for index, row in enumerate(rows) if row[:1] == [BAD]}
    if bad:
        raise InvalidRequest("rows at fault", rows=bad)
    if any(row[:1] == [WORSE] for row in rows):
        raise InvalidRequest("something is wrong")
    return rows


def stacking(rows: List[List[int]], headers: Mapping[str, str]) -> Any:
    """Stacks its rows, which must be of one length."""
    if len({len(row) for row in rows}) > 1:
        raise InternalError("the model failed on this request")
    return rows


def small_memory(rows: List[List[int]], headers: Mapping[str, str]) -> Any:
    if len(rows) > 4:
        raise OutOfResources("no memory")
    return rows


#: These answer each row by itself, whatever else they do: an operator may say so of them.
BY_ROW: Dict[str, Handler] = {
    "echo": echo,
    "own 422": raising(lambda: InvalidRequest("no such unit")),
    "own 404": raising(lambda: NotFound("no such customer")),
    "own 500": raising(lambda: InternalError("failed")),
    "own 502": raising(lambda: BadGateway("failed behind")),
    "own 503": raising(lambda: Unavailable("no feature store", 1.0)),
    "own 504": raising(lambda: DeadlineExceeded("feature store too slow")),
    "dies": raising(lambda: WorkerLost("lost the worker", 1.0)),
    "names rows": naming_rows,
    "stacks": stacking,
    "small memory": small_memory,
}
#: These do not, and nothing in their answers tells.
OTHERS: Dict[str, Handler] = {
    "first row twice": first_row_twice,
    "first row": first_row,
    "one more": one_more,
    "one object": one_object,
    "total": total,
    "how many": how_many,
    "tenant": tenant,
}


class HandlerUpstream:
    """Sends calls to a handler; each takes as long as the script says, in turn."""

    def __init__(self, handler: Handler, delays: List[float]) -> None:
        self._handler = handler
        self._delays = delays
        self.sends: List[int] = []

    async def send(
        self, call: Call, metadata: ModelMetadata, deadline: float, headers: Optional[Mapping[str, str]] = None
    ) -> Reply:
        rows = rows_of(call, metadata)
        delay = self._delays[len(self.sends) % len(self._delays)]
        self.sends.append(len(rows))
        await asyncio.sleep(delay)
        return reply_of(call, metadata, self._handler(rows, headers or {}))


def rows_of(call: Call, metadata: ModelMetadata) -> List[List[int]]:
    if isinstance(call, V1Call):
        return call.instances
    arrays = [np.frombuffer(tensor.data, "<i8").reshape(tensor.shape) for tensor in call.inputs]
    if _counts_rows(metadata):
        return arrays[0].tolist()  # type: ignore[no-any-return]
    # The stock envelope takes every input for a row.
    return [array.ravel().tolist() for array in arrays]


def reply_of(call: Call, metadata: ModelMetadata, result: Any) -> Reply:
    if isinstance(call, V1Call):
        return V1Reply(result)
    rows = list(result.values()) if isinstance(result, dict) else result
    texts = [",".join(map(str, row)) if isinstance(row, list) else str(row) for row in rows]
    if _counts_rows(metadata):
        return V2Reply([Tensor("out", "BYTES", (len(texts),), join_bytes([text.encode() for text in texts]))])
    return V2Reply([Tensor("out", "BYTES", (1,), join_bytes([text.encode()])) for text in texts])


def _counts_rows(metadata: ModelMetadata) -> bool:
    return "binary_tensor_data" in metadata.extensions and bool(metadata.inputs)


def v2(rows: List[List[int]], **fields: Any) -> V2Call:
    array = np.array(rows, "<i8")
    return V2Call("m", None, False, [Tensor("in", "INT64", array.shape, array.tobytes())], **fields)
