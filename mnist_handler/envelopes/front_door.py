"""Our envelope in the place of TorchServe's, for handlers of either kind.

A handler that speaks wire itself (its object has ``handles_raw_requests = True``) gets TorchServe's batch as it came.
Any other handler gets what TorchServe's own envelopes would have made of the batch had they read all of it:
flat rows, one result expected for each. In V1 an instance is a row. In V2 an input is a row, ``{name, shape,
datatype, data}``, except that each BYTES element is one. A raw body is one row. Such handlers look for the
verb at request 0, so predictions and explanations go in two calls.
"""

from __future__ import annotations

import copy
import logging
from typing import Any, Callable, Dict, List, NamedTuple, Sequence, Union

from mnist_handler.envelopes import stock_rows
from mnist_handler.envelopes.batch import failure
from mnist_handler.envelopes.stock_rows import Flat
from mnist_handler.envelopes.worker_context import (
    Model,
    Reply,
    WorkerContext,
    asks_description,
    asks_explanation,
    model_of,
    send_results,
)
from mnist_handler.requests import RequestError

HandleFn = Callable[[List[Any], Any], Any]

logger = logging.getLogger(__name__)


class Client(NamedTuple):
    idx: int
    explain: bool
    flat: Flat


class BatchEnvelope:
    """Takes the worker's whole batch, whatever protocols its clients speak.

    Args:
        handle_fn: the handler's entry point.
    """

    #: Whether a raw body's row is its bare value (TorchServe's ``body``) or the dict around it.
    bare_raw = False
    #: Whether ``{"b64": …}`` in V1 instances is decoded here (TorchServe's ``json``) or by the handler.
    decodes_base64 = False

    def __init__(self, handle_fn: HandleFn) -> None:
        self._handle_fn = handle_fn
        owner = getattr(handle_fn, "__self__", handle_fn)
        self._handles_raw_requests = bool(getattr(owner, "handles_raw_requests", False))

    def handle(self, data: List[Dict[str, Any]], context: Any) -> Any:
        """TorchServe's entry point: one dict a client in, one body a client out, in order."""
        if self._handles_raw_requests or asks_description(data, context):
            return self._handle_fn(data, context)
        results: Dict[int, Union[Reply, RequestError]] = {}
        groups: Dict[bool, List[Client]] = {False: [], True: []}
        for idx, item in enumerate(data):
            try:
                headers = context.get_all_request_header(idx)
                explain = asks_explanation(headers)
                flat = stock_rows.flatten(item, headers, explain, self.bare_raw, self.decodes_base64)
                groups[explain].append(Client(idx, explain, flat))
            except Exception as error:
                results[idx] = failure(error)
        model = model_of(context)
        for group in groups.values():
            results.update(self._answer(group, context, model))
        return send_results(context, [results[idx] for idx in range(len(data))])

    def _answer(
        self, group: List[Client], context: WorkerContext, model: Model
    ) -> Dict[int, Union[Reply, RequestError]]:
        """Answers the clients of one verb in one call; where it fails, each in a call of its own."""
        if not group:
            return {}
        try:
            results = self._call(group, context)
        except Exception as error:
            if len(group) == 1:
                return {group[0].idx: _failure(error)}
            logger.warning("a batch of %d requests failed (%s): trying them one by one", len(group), error)
            return {idx: reply for client in group for idx, reply in self._answer([client], context, model).items()}
        replies: Dict[int, Union[Reply, RequestError]] = {}
        start = 0
        for client in group:
            end = start + len(client.flat.rows)
            replies[client.idx] = _write(client, results[start:end], model)
            start = end
        return replies

    def _call(self, group: Sequence[Client], context: WorkerContext) -> List[Any]:
        rows = [row for client in group for row in client.flat.rows]
        owners = [client.idx for client in group for _ in client.flat.rows]
        results = self._handle_fn(rows, view_of(context, owners))
        if not isinstance(results, (list, tuple)):
            raise TypeError(f"the handler returned a {type(results).__name__}, not a list")
        if len(results) != len(rows):
            raise ValueError(f"the handler returned {len(results)} results for {len(rows)} rows")
        return list(results)


def view_of(context: Any, owners: Sequence[int]) -> Any:
    """The context as the rows see it: index i means the client that owns row i."""
    view = copy.copy(context)
    view.request_processor = [context.request_processor[idx] for idx in owners]
    if context.request_ids is not None:
        view.request_ids = {row: context.request_ids.get(idx) for row, idx in enumerate(owners)}
    return view


def _write(client: Client, results: List[Any], model: Model) -> Union[Reply, RequestError]:
    try:
        return client.flat.write(results, model)
    except Exception as error:
        return failure(error)


def _failure(error: Exception) -> RequestError:
    """As for our handlers, and TorchServe's own PredictionException keeps its status and message."""
    code = getattr(error, "error_code", None)
    if type(error).__name__ == "PredictionException" and isinstance(code, int) and 400 <= code <= 599:
        return RequestError(code, str(getattr(error, "message", error)))
    return failure(error)
