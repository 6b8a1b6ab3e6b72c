"""Which request headers travel: never a secret unless it is named, never one of the connection, no line breaks."""

from __future__ import annotations

from typing import Dict, List

import pytest
from hypothesis import given
from hypothesis import strategies as st

from kserve_wrapper.core.headers import HeaderPolicy, trace_of

CLIENT = {
    b"host": b"h",
    b"content-length": b"3",
    b"transfer-encoding": b"chunked",
    b"authorization": b"Bearer secret",
    b"cookie": b"secret",
    b"x-tenant": b"a",
    b"user-agent": b"curl",
    b"traceparent": b"00-1-2-01",
}


@pytest.mark.parametrize(
    ("also", "travels"),
    [
        ([], ["traceparent", "user-agent", "x-tenant"]),
        (["Authorization"], ["authorization", "traceparent", "user-agent", "x-tenant"]),
        (["cookie", "authorization"], ["authorization", "cookie", "traceparent", "user-agent", "x-tenant"]),
    ],
)
def test_what_reaches_a_handler_that_gets_its_requests_alone(also: List[str], travels: List[str]) -> None:
    assert sorted(HeaderPolicy(also).of_a_request_alone(CLIENT)) == travels


def test_a_handler_that_shares_gets_what_it_declares_and_no_secret() -> None:
    names = ["X-Tenant", "authorization", "host", "x-absent"]
    assert HeaderPolicy().declared(CLIENT, names) == {"x-tenant": "a"}
    assert HeaderPolicy().declared(CLIENT, []) == {}


def test_headers_of_the_connection_cannot_be_asked_for() -> None:
    with pytest.raises(ValueError, match="content-length belongs to one connection"):
        HeaderPolicy(["content-length"])


def test_the_trace_is_the_clients_own() -> None:
    assert trace_of(CLIENT) == {"traceparent": "00-1-2-01"}
    assert trace_of({b"x-tenant": b"a"}) == {}


@given(st.dictionaries(st.binary(min_size=1, max_size=12), st.binary(max_size=12)))
def test_nothing_that_travels_breaks_a_line(client: Dict[bytes, bytes]) -> None:
    for value in HeaderPolicy().of_a_request_alone(client).values():
        assert value.isascii()
        assert value.isprintable()
