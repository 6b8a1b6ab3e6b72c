"""The worker's batch at the wire: every client's dict in, every client's body out, each on its own.

What belongs to one batch lives in local variables only.
"""

from __future__ import annotations

import dataclasses
import logging
from typing import Any, Callable, Dict, List, Sequence, Tuple, Union

from mnist_handler.envelopes.protocol import read_request
from mnist_handler.envelopes.worker_context import Model, Reply, ResponseWriter, WorkerContext, model_of, send_results
from mnist_handler.requests import Answer, Request, RequestError

Result = Union[Answer, RequestError]
Parsed = Tuple[ResponseWriter, Request]
Answerer = Callable[[List[Request], Any], List[Result]]

logger = logging.getLogger(__name__)

BUG = "the model failed on this batch; the server's log has the cause"
TOO_LARGE = "the worker's memory does not hold this request"


class WireEnvelope:
    """Reads all clients of a worker's batch, has them answered in one call, and writes each its answer.

    Args:
        answer: takes the valid requests of the batch, predictions and explanations mixed, and TorchServe's
            context; returns one Answer or RequestError a request, in order.
        headers: names of the request headers that ``Request.headers`` shall hold.
    """

    def __init__(self, answer: Answerer, headers: Sequence[str] = ()) -> None:
        self._answer = answer
        self._headers = frozenset(name.lower() for name in headers)

    def handle(self, data: List[Dict[str, Any]], context: WorkerContext) -> List[bytes]:
        """TorchServe's entry point.

        Args:
            data: one dict a client, as TorchServe hands them over: ``body`` or ``data``, or a form's fields.
            context: gets status, content type and headers of each client's answer.

        Returns:
            One body a client, in order. A client's fault is its own 4xx. Where the model fails on several
            requests, each is tried once alone: a 500 for those that fail then, and a traceback in the log.
        """
        results: List[Union[Reply, RequestError]] = [RequestError(500, BUG)] * len(data)
        writers: List[Tuple[int, ResponseWriter]] = []
        requests: List[Request] = []
        for idx, item in enumerate(data):
            parsed = self._read(item, context, idx)
            if isinstance(parsed, RequestError):
                results[idx] = parsed
            else:
                writers.append((idx, parsed[0]))
                requests.append(parsed[1])
        if requests:
            model = model_of(context)
            for (idx, writer), answer in zip(writers, self._answer_all(requests, context)):
                results[idx] = _write(writer, answer, model)
        return send_results(context, results)

    def _read(
        self, item: Dict[str, Any], context: WorkerContext, idx: int
    ) -> Union[Tuple[ResponseWriter, Request], RequestError]:
        try:
            came = context.get_all_request_header(idx)
            writer, request = read_request(item, came)
            if self._headers:
                own = {name.lower(): str(value) for name, value in came.items() if name.lower() in self._headers}
                request = dataclasses.replace(request, headers=own)
            return writer, request
        except Exception as error:
            return failure(error)

    def _answer_all(self, requests: List[Request], context: WorkerContext) -> List[Result]:
        try:
            return self._call(requests, context)
        except Exception as error:
            if len(requests) == 1:
                return [failure(error)]
            logger.warning("a batch of %d requests failed (%r): trying them one by one", len(requests), error)
        return [answer for request in requests for answer in self._answer_all([request], context)]

    def _call(self, requests: List[Request], context: WorkerContext) -> List[Result]:
        answers = self._answer(requests, context)
        if len(answers) != len(requests):
            raise ValueError(f"the handler gave {len(answers)} answers to {len(requests)} requests")
        return answers


def failure(error: Exception) -> RequestError:
    """What a client is told of an exception. The log gets whatever is no client's fault."""
    if isinstance(error, RequestError):
        return error
    logger.error("answering a batch failed", exc_info=error)
    if isinstance(error, MemoryError):
        return RequestError(507, TOO_LARGE)
    return RequestError(500, BUG)


def _write(writer: ResponseWriter, answer: Result, model: Model) -> Union[Reply, RequestError]:
    if isinstance(answer, RequestError):
        return answer
    try:
        return writer.reply(answer, model)
    except Exception as error:
        return failure(error)
