"""Compressed bodies: what any client made of them comes back, within the limit; all else is a clear refusal."""

from __future__ import annotations

import gzip
import time
import zlib
from typing import Callable, List, Optional, Tuple

import pytest
from hypothesis import given
from hypothesis import strategies as st

from kserve_wrapper.core.errors import InvalidRequest, TooLarge, UnsupportedMedia, WrapperError
from kserve_wrapper.httpd.encoding import accepted_coding, deflate, inflate, request_coding

Form = Tuple[bytes, Callable[[bytes], bytes]]


def bare(body: bytes) -> bytes:
    """Deflate as some clients send it, without zlib's head and checksum."""
    packer = zlib.compressobj(wbits=-15)
    return packer.compress(body) + packer.flush()


FORMS: List[Form] = [(b"gzip", gzip.compress), (b"deflate", zlib.compress), (b"deflate", bare)]


@given(st.binary(max_size=2000), st.sampled_from(FORMS))
def test_a_body_comes_back(body: bytes, form: Form) -> None:
    coding, compress = form
    assert inflate(compress(body), coding, len(body)) == body
    assert inflate(bytearray(compress(body)), coding, 0) == body


@given(st.binary(max_size=2000), st.sampled_from(FORMS), st.binary(max_size=20), st.integers(0, 2000))
def test_damaged_bodies_are_refused_or_read(body: bytes, form: Form, junk: bytes, cut: int) -> None:
    coding, compress = form
    whole = compress(body)
    for damaged in (whole[:cut], whole + junk, whole[:cut] + junk + whole[cut:], junk):
        try:
            assert len(inflate(damaged, coding, 4000)) <= 4000
        except WrapperError as error:
            assert error.status in (400, 413)


@pytest.mark.parametrize("form", FORMS)
def test_what_is_cut_short_or_goes_on_is_refused(form: Form) -> None:
    coding, compress = form
    whole = compress(b"abc" * 100)
    with pytest.raises(InvalidRequest, match="cut short"):
        inflate(whole[:-1], coding, 0)
    with pytest.raises(InvalidRequest, match="follows"):
        inflate(whole + whole, coding, 0)


@pytest.mark.parametrize("form", FORMS)
def test_a_bomb_is_refused_after_as_much_as_may_be(form: Form) -> None:
    """A thousand times the limit costs no more than the limit: time is compared with inflating just that."""
    coding, compress = form
    fits, bomb = compress(bytes(1 << 20)), compress(bytes(200 << 20))
    took: List[float] = []
    for _ in range(5):
        started = time.perf_counter()
        inflate(fits, coding, 1 << 20)
        between = time.perf_counter()
        with pytest.raises(TooLarge, match=r"max_body_size, 1048576 bytes"):
            inflate(bomb, coding, 1 << 20)
        took.append((time.perf_counter() - between) / (between - started))
    assert min(took) < 20


@pytest.mark.parametrize(
    ("header", "coding"),
    [(None, None), (b"", None), (b"Identity", None), (b"X-GZip", b"gzip"), (b" deflate ", b"deflate")],
)
def test_codings_of_requests(header: Optional[bytes], coding: Optional[bytes]) -> None:
    assert request_coding(header) == coding


@pytest.mark.parametrize("header", [b"br", b"gzip, gzip", b"gzip, identity", b"zstd", b"\xff"])
def test_other_codings(header: bytes) -> None:
    with pytest.raises(UnsupportedMedia, match="gzip"):
        request_coding(header)


@pytest.mark.parametrize(
    ("accept", "coding"),
    [
        (None, None),
        ("", None),
        ("identity", None),
        ("gzip", b"gzip"),
        ("gzip, deflate, br", b"gzip"),
        ("deflate", b"deflate"),
        ("gzip;q=0.1, deflate;q=0.5", b"deflate"),
        ("GZIP ; Q=1", b"gzip"),
        ("gzip;q=0", None),
        ("*", b"gzip"),
        ("*;q=0", None),
        ("*, gzip;q=0", b"deflate"),
        ("gzip;q=x", None),
        (";;,,=", None),
    ],
)
def test_what_a_client_takes(accept: Optional[str], coding: Optional[bytes]) -> None:
    assert accepted_coding(accept) == coding


@given(st.binary(max_size=2000), st.sampled_from([b"gzip", b"deflate"]))
def test_an_answer_comes_back(body: bytes, coding: bytes) -> None:
    assert inflate(deflate(body, coding), coding, 0) == body
    if coding == b"gzip":
        assert gzip.decompress(deflate(body, coding)) == body
