"""Why requests were not answered, out of what TorchServe and its workers say."""

from __future__ import annotations

import asyncio
import time
from pathlib import Path
from typing import List, Optional

import pytest
from hypothesis import given
from hypothesis import strategies as st

from kserve_wrapper.core.errors import BadGateway, InternalError, Unavailable, WrapperError
from kserve_wrapper.torchserve.answer_log import AnswerLog, _returned, _stumbled
from kserve_wrapper.torchserve.log_records import records
from kserve_wrapper.upstream.errors import NoAnswer, ReplyTooLong, WorkerLost

FAILED = InternalError("model m failed on this request")
NO_LIST = NoAnswer("m", "something that is no list")
LOST = WorkerLost("model m lost the worker that had this request", 1.0)
TRACEBACK = ["Traceback (most recent call last):", '  File "/opt/ts/service.py", line 135, in predict']
ENVELOPE = '  File "/opt/ts/torch_handler/request_envelope/base.py", line 28, in handle'
FORMAT = '  File "/opt/ts/torch_handler/request_envelope/kservev2.py", line 28, in format_output'
PARSE = '  File "/opt/ts/torch_handler/request_envelope/kservev2.py", line 83, in parse_input'
OWN = '  File "/store/m/handler.py", line 3, in handle'
TOO_LONG = [
    "Unknown exception",
    "io.netty.handler.codec.TooLongFrameException: Message size exceed limit: 7000248",
    "Consider increasing the 'max_response_size' in 'config.properties' to fix.",
    "\tat org.pytorch.serve.util.codec.CodecUtils.readLength(CodecUtils.java:27)",
]


def printed(*lines: str, model: str = "m", at: float = 0.0) -> List[str]:
    """Records of a worker, so many seconds after the request left."""
    return [f"{millis(at)}\tW-9000-{model}_1.0-stdout\tMODEL_LOG\t{line}" for line in lines]


def said(*lines: str, at: float = 0.0) -> List[str]:
    """One record of TorchServe itself."""
    return [f"{millis(at)}\tepollEventLoopGroup-5-2\tWorkerThread\t{lines[0]}", *lines[1:]]


#: When the request left.
LEFT = time.time()


def millis(at: float) -> int:
    return int((LEFT + at) * 1000)


def explain(path: Optional[Path], error: WrapperError, model: str = "m") -> WrapperError:
    return asyncio.run(AnswerLog(path, 6_553_500).explain(model, LEFT, error))


def told(tmp_path: Path, lines: List[str], error: WrapperError, model: str = "m") -> WrapperError:
    path = tmp_path / "loads.log"
    path.write_text("\n".join(lines) + "\n")
    return explain(path, error, model)


def test_an_answer_that_is_too_long_is_told_as_that_and_not_to_be_retried(tmp_path: Path) -> None:
    error = told(tmp_path, said(*TOO_LONG, at=time.time() - LEFT), LOST)
    assert isinstance(error, ReplyTooLong)
    assert (error.status, error.retry_after) == (413, None)
    assert "6553500 bytes (max_response_size in config.properties)" in error.message
    assert "sent again, it fails again" in error.message


@pytest.mark.parametrize(
    "lines",
    [
        [],
        said(*TOO_LONG, at=-1.0),
        printed(*TOO_LONG),
        said("Unknown exception", "java.io.IOException: Connection reset by peer"),
    ],
    ids=["nothing", "before the request", "a handler's own words", "another exception"],
)
def test_a_worker_that_ended_otherwise_is_worth_another_try(tmp_path: Path, lines: List[str]) -> None:
    assert told(tmp_path, lines, LOST) is LOST


@pytest.mark.parametrize(
    ("lines", "returned"),
    [
        (["model: m, Invalid return type: <class 'dict'>."], "a dict"),
        (["model: m, Invalid return type: <class 'numpy.ndarray'>."], "a numpy.ndarray"),
        (["model: m, Invalid return type: <class 'NoneType'>."], "nothing (None)"),
        (["model: m, number of batch response mismatched, expect: 1, got: 0."], "0 answers to 1 requests"),
        (
            ["Unable to serialize model output.", *TRACEBACK, "TypeError: Object of type set is not JSON serializable"],
            "a set, which has no JSON form",
        ),
        (["model: other, Invalid return type: <class 'dict'>."], "something that is no list"),
        (["nothing of use"], "something that is no list"),
    ],
)
def test_what_the_handler_returned_is_named(tmp_path: Path, lines: List[str], returned: str) -> None:
    error = told(tmp_path, printed(*lines), NO_LIST)
    assert isinstance(error, NoAnswer)
    assert error.message.startswith(f"model m: its handler returned {returned}; it must return a list")
    assert error.status == 500


@pytest.mark.parametrize(
    ("lines", "envelopes"),
    [
        ([*TRACEBACK, ENVELOPE, "    if results:", "ValueError: ambiguous"], True),
        ([*TRACEBACK, FORMAT, "    x[1]", "ValueError: ambiguous"], True),
        ([*TRACEBACK, ENVELOPE, "    x", OWN, "    x", "ValueError: ambiguous"], False),
        ([*TRACEBACK, ENVELOPE, "    x", PARSE, "    x", "KeyError: 'inputs'"], False),
        ([*TRACEBACK, ENVELOPE], False),
    ],
)
def test_an_envelope_that_fails_on_the_answer_is_told_apart(tmp_path: Path, lines: List[str], envelopes: bool) -> None:
    error = told(tmp_path, printed("Invoking custom service failed.", *lines), FAILED)
    if not envelopes:
        assert error is FAILED
        return
    assert isinstance(error, NoAnswer)
    assert "returned what its envelope fails on (ValueError: ambiguous)" in error.message


@pytest.mark.parametrize(
    ("frames", "cause"),
    [
        ([OWN], "ValueError: need 4 features, got 3 (handler.py, line 3)"),
        ([OWN, '  File "/opt/lib/python3.11/site-packages/torch/nn.py", line 9, in x'], "got 3 (handler.py, line 3)"),
        ([PARSE], "ValueError: need 4 features, got 3"),
    ],
)
def test_who_runs_the_handler_reads_why_it_failed(
    tmp_path: Path, frames: List[str], cause: str, caplog: pytest.LogCaptureFixture
) -> None:
    """Its clients do not."""
    lines = printed("Invoking custom service failed.", *TRACEBACK, *frames, "ValueError: need 4 features, got 3")
    assert told(tmp_path, lines, FAILED) is FAILED
    (record,) = [one for one in caplog.records if one.name.endswith("answer_log")]
    assert record.getMessage().startswith("model m failed on a request: ValueError")
    assert record.getMessage().endswith(cause)
    assert record.levelname == "ERROR"


def test_what_a_worker_prints_late_is_waited_for(tmp_path: Path) -> None:
    path = tmp_path / "loads.log"

    async def scenario() -> WrapperError:
        log = AnswerLog(path, 100)
        asked = asyncio.ensure_future(log.explain("m", LEFT, NO_LIST))
        await asyncio.sleep(0)
        path.write_text("\n".join(printed("model: m, Invalid return type: <class 'str'>.")) + "\n")
        return await asked

    assert "returned a str" in asyncio.run(scenario()).message


@pytest.mark.parametrize("error", [Unavailable("full"), BadGateway("no reply"), LOST, NO_LIST, FAILED])
def test_without_a_log_errors_stay(tmp_path: Path, error: WrapperError) -> None:
    assert explain(None, error) is error
    assert explain(tmp_path / "none.log", error) is error


LINES = st.one_of(st.sampled_from([*printed(*TRACEBACK, ENVELOPE, "E: x"), *said(*TOO_LONG)]), st.text())


@given(st.lists(LINES))
def test_no_log_breaks_it(lines: List[str]) -> None:
    found = list(records(lines))
    assert sum(len(record.lines) for record in found) <= len(lines)
    # No handler's answer is spoken of in these.
    assert _returned("m", found) is None
    assert _stumbled("m", found, FAILED) is None
