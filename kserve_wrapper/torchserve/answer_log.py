"""Why a request that reached a worker was not answered, as TorchServe and the worker said it in their log.

To the client TorchServe says "Worker died." of an answer that it found too long, and "Prediction failed" of one that
its envelope could make nothing of.
"""

from __future__ import annotations

import asyncio
import logging
import re
import time
from pathlib import Path
from typing import Iterable, List, Optional

from kserve_wrapper.core.errors import InternalError, WrapperError
from kserve_wrapper.torchserve import tracebacks
from kserve_wrapper.torchserve.log_records import (
    OF_A_REQUEST,
    TRACEBACK,
    Record,
    Stamp,
    records,
    stamp,
    tail,
    worker_name,
)
from kserve_wrapper.upstream.errors import NoAnswer, ReplyTooLong, WorkerLost

logger = logging.getLogger(__name__)

#: Bytes at the file's end that are read, and seconds for which what was read may serve others.
_TAIL, _FRESH = 64 * 1024, 0.02
#: What a worker prints reaches the file by another thread than its answer: times to look, and seconds between them.
_LOOKS, _PAUSE = 4, 0.02
#: Seconds between an answer that is too long and what its client gets: TorchServe closes the connection to the worker.
_CLOSING = 5.0
_TOO_LONG = "Message size exceed limit"
_TYPE = re.compile(r"model: (.+), Invalid return type: <class '([\w.]{1,80})'>\.\Z")
_COUNT = re.compile(r"model: (.+), number of batch response mismatched, expect: (\d+), got: (\d+)\.\Z")
_NO_JSON = re.compile(r"TypeError: Object of type (\w{1,80}) is not JSON serializable\Z")
_ENVELOPE = re.compile(r'  File ".*[/\\]request_envelope[/\\]\w+\.py", line \d+, in (\w+)')
_FRAME = '  File "'


class AnswerLog:
    """Puts what the log says in the place of an error that tells less.

    Args:
        path: the file; None where nobody writes one.
        response_limit: TorchServe's max_response_size, bytes.
    """

    def __init__(self, path: Optional[Path], response_limit: int) -> None:
        self._path = path
        self._limit = response_limit
        self._stamp: Optional[Stamp] = None
        self._read = 0.0
        self._records: List[Record] = []

    async def explain(self, model: str, since: float, error: WrapperError) -> WrapperError:
        """The error that says what became of a request, or the one given where that tells all.

        Args:
            model: its name.
            since: when the request left, seconds since the epoch.
            error: what came back.
        """
        if self._path is None or not isinstance(error, (WorkerLost, InternalError)):
            return error
        for left in reversed(range(_LOOKS)):
            found = self._look(model, since, error)
            if found is not None or not left:
                break
            await asyncio.sleep(_PAUSE)
        return found or error

    def _look(self, model: str, since: float, error: WrapperError) -> Optional[WrapperError]:
        """None where the log does not tell yet."""
        self._refresh()
        # The file has whole milliseconds.
        new = [record for record in self._records if record.time >= since - 0.001]
        if isinstance(error, WorkerLost):
            return self._too_long(model, new)
        if isinstance(error, NoAnswer):
            told = _returned(model, new)
            return NoAnswer(model, told) if told else None
        return _stumbled(model, new, error)

    def _refresh(self) -> None:
        now = time.monotonic()
        if self._path is None or now - self._read < _FRESH:
            return
        self._read = now
        try:
            seen = stamp(self._path)
            if seen != self._stamp:
                self._records = list(records(tail(self._path, _TAIL)))
                self._stamp = seen
        except OSError:
            return

    def _too_long(self, model: str, new: List[Record]) -> Optional[WrapperError]:
        """The record does not say whose answer it was: one as near as this is this one's."""
        recent = time.time() - _CLOSING
        for record in new:
            if record.worker is None and record.time >= recent and any(_TOO_LONG in line for line in record.lines):
                return ReplyTooLong(model, self._limit)
        return None


def _returned(model: str, new: Iterable[Record]) -> Optional[str]:
    """What a handler returned that is no list of answers, or holds what has no JSON form."""
    told = None
    for record in new:
        for line in record.lines if record.worker else ():
            kind, count, no_json = _TYPE.match(line), _COUNT.match(line), _NO_JSON.match(line)
            if kind and kind[1] == model:
                told = "nothing (None)" if kind[2] == "NoneType" else f"a {kind[2]}"
            elif count and count[1] == model:
                told = f"{count[3]} answers to {count[2]} requests"
            elif no_json and _of(record, model):
                told = f"a {no_json[1]}, which has no JSON form"
    return told


def _stumbled(model: str, new: Iterable[Record], error: WrapperError) -> Optional[WrapperError]:
    """The error given where the handler failed by itself; another where TorchServe's envelope did, on its answer.

    Clients hear nothing of the inside of a handler. Who runs it reads the cause in the wrapper's log, too.
    """
    frames: List[str] = []
    within = failed = False
    for line in (line for record in new if _of(record, model) for line in record.lines):
        if line in OF_A_REQUEST:
            failed = True
        elif line == TRACEBACK and failed:
            frames, within = [], True
        elif within and line.startswith(_FRAME):
            frames.append(line)
        elif within and line and not line.startswith((" ", "\t")):
            last = _ENVELOPE.match(frames[-1]) if frames else None
            reading = any(frame.endswith("in parse_input") for frame in frames)
            if last is not None and not reading:
                return NoAnswer(model, f"what its envelope fails on ({line[:200]})")
            logger.error("model %s failed on a request: %s", model, _cause(line, frames))
            return error
    return None


def _cause(line: str, frames: Iterable[str]) -> str:
    """A traceback's error, and where in the archive's own code it arose."""
    place = tracebacks.place(frames)
    return f"{tracebacks.plain(line[:200], None)}{f' ({place})' if place else ''}"


def _of(record: Record, model: str) -> bool:
    """Printed by a worker of the model, whichever version."""
    return record.worker is not None and record.worker.startswith(worker_name(model, ""))
