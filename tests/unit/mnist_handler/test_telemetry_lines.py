"""TorchServe's own lines for each batch, by the code of TorchServe that writes them."""

from __future__ import annotations

import logging
import socket
import struct
from typing import Iterator, List

import pytest
from ts.metrics.caching_metric import CachingMetric
from ts.protocol.otf_message_handler import retrieve_msg

from mnist_handler import telemetry

#: An inference message of no requests.
EMPTY = b"I" + struct.pack("!i", -1)


@pytest.fixture(autouse=True)
def as_before() -> Iterator[None]:
    yield
    for name, thinned in telemetry._filters.items():
        logging.getLogger(name).removeFilter(thinned)
    telemetry._filters.clear()


def receive(times: int) -> None:
    mine, theirs = socket.socketpair()
    with mine, theirs:
        mine.sendall(times * EMPTY)
        for _ in range(times):
            assert retrieve_msg(theirs) == (b"I", [])


def tell(name: str, times: int) -> None:
    for _ in range(times):
        CachingMetric(name, "ms").add_or_update(1.5)


def lines(caplog: pytest.LogCaptureFixture, part: str) -> List[str]:
    return [line for line in caplog.messages if part in line]


def test_once_in_the_interval(caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.INFO)
    telemetry.rate_limit(3600)
    receive(3)
    tell("PredictionTime", 3)
    assert len(lines(caplog, "Backend received inference")) == 1
    assert len(lines(caplog, "PredictionTime.Milliseconds:1.5|")) == 1
    for name in telemetry.LINES:
        telemetry._filters[name]._due = 0
    receive(2)
    tell("PredictionTime", 2)
    assert len(caplog.messages) == 4


def test_all_of_them_where_the_interval_is_0(caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.INFO)
    telemetry.rate_limit(3600)
    telemetry.rate_limit(0)
    receive(3)
    tell("PredictionTime", 3)
    assert len(caplog.messages) == 6


def test_what_handlers_tell_passes(caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.INFO)
    telemetry.rate_limit(3600)
    tell("PredictionTimeOfMine", 2)
    tell("HandlerRows", 2)
    logging.info("Backend %s", "is fine")
    logging.getLogger("model").info("%s", ["no text"])
    assert len(caplog.messages) == 6
