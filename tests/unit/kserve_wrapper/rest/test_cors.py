"""Web pages of other origins: nothing is said to browsers unless a setting asks for it."""

from __future__ import annotations

from typing import Dict

import pytest

from kserve_wrapper.rest.cors import Cors
from tests.unit.kserve_wrapper.fakes import Front

PREDICT = "/v1/models/mnist:predict"
PAGE = "https://page.example"
ASKS = {"origin": PAGE, "access-control-request-method": "POST", "access-control-request-headers": "content-type,x-a"}


def told(headers: Dict[str, str]) -> Dict[str, str]:
    return {name: value for name, value in headers.items() if name.startswith("access-control-") or name == "vary"}


def test_nothing_is_said_where_it_is_off() -> None:
    front = Front()
    assert told(front.call("POST", PREDICT, {"instances": [1]}, {"origin": PAGE}).headers) == {}
    assert front.call("OPTIONS", PREDICT, headers=ASKS).status == 405


@pytest.mark.parametrize(("origins", "allowed"), [(["*"], "*"), ([PAGE, "https://other.example"], PAGE)])
def test_a_page_that_may_call(origins: list[str], allowed: str) -> None:
    front = Front(cors=Cors(origins))
    asked = front.call("OPTIONS", PREDICT, headers=ASKS)
    assert (asked.status, asked.body) == (200, b"")
    assert asked.headers["access-control-allow-origin"] == allowed
    assert asked.headers["access-control-allow-headers"] == "content-type,x-a"
    assert "POST" in asked.headers["access-control-allow-methods"]
    for body, status in (({"instances": [1]}, 200), (b"nonsense", 400)):
        answer = front.call("POST", PREDICT, body, {"origin": PAGE})
        assert answer.status == status
        assert answer.headers["access-control-allow-origin"] == allowed
        assert answer.headers["vary"] == "origin"
        assert "access-control-allow-credentials" not in answer.headers


@pytest.mark.parametrize(
    "origin", ["https://page.example.evil", "null", "HTTPS://PAGE.EXAMPLE", "https://page.example:444"]
)
def test_any_other_page_may_not(origin: str) -> None:
    front = Front(cors=Cors([PAGE]))
    answer = front.call("OPTIONS", PREDICT, headers={**ASKS, "origin": origin})
    assert "access-control-allow-origin" not in answer.headers
    answer = front.call("POST", PREDICT, {"instances": [1]}, {"origin": origin})
    assert told(answer.headers) == {"vary": "origin"}


def test_a_question_about_no_route_is_a_404() -> None:
    assert Front(cors=Cors(["*"])).call("OPTIONS", "/nowhere", headers=ASKS).status == 404
    assert Front(cors=Cors(["*"])).call("OPTIONS", PREDICT).status == 405
