"""Content-Encoding: bodies that clients compressed, and answers for those that take them compressed."""

from __future__ import annotations

import zlib
from typing import Optional, Tuple

from kserve_wrapper.core.calls import Buffer
from kserve_wrapper.core.errors import InvalidRequest, TooLarge, UnsupportedMedia

_GZIP = (b"gzip", b"x-gzip")
_IDENTITY = (b"", b"identity")
#: What zlib is told: a window of 32 KiB, in gzip's form, in zlib's, or with neither head nor checksum.
_GZIP_FORM, _ZLIB_FORM, _BARE = 31, 15, -15
#: The fastest: a server that compresses answers nobody meanwhile.
_LEVEL = 1


def request_coding(header: Optional[bytes]) -> Optional[bytes]:
    """The coding of a body by its Content-Encoding, gzip or deflate; None where it came as it is.

    Raises:
        UnsupportedMedia: another coding, or several.
    """
    if header is None:
        return None
    coding = header.strip().lower()
    if coding in _IDENTITY:
        return None
    if coding in _GZIP:
        return b"gzip"
    if coding != b"deflate":
        raise UnsupportedMedia("this Content-Encoding is not supported: send gzip, deflate, or the body as it is")
    return coding


def inflate(body: Buffer, coding: bytes, limit: int) -> bytes:
    """A body as it was before it was compressed.

    Args:
        coding: of ``request_coding``.
        limit: bytes; 0 = any number. No more than one byte beyond is ever inflated.

    Raises:
        InvalidRequest: the body is damaged, cut short, or something follows it.
        TooLarge: it is beyond the limit.
    """
    inflater = zlib.decompressobj(_GZIP_FORM if coding == b"gzip" else _deflate_form(body))
    try:
        inflated = inflater.decompress(body, limit + 1 if limit else 0)
    except zlib.error as error:
        raise InvalidRequest(f"the body is not what its Content-Encoding says: {error}") from None
    if limit and len(inflated) > limit:
        raise TooLarge(f"the inflated body is larger than max_body_size, {limit} bytes")
    if not inflater.eof:
        raise InvalidRequest("the compressed body is cut short")
    if inflater.unused_data:
        raise InvalidRequest("something follows the compressed body: send it in one piece")
    return inflated


def _deflate_form(body: Buffer) -> int:
    """zlib's, as RFC 9110 has it, unless its two bytes of head are not there: some clients leave them out."""
    head = bytes(body[:2])
    return _ZLIB_FORM if len(head) == 2 and head[0] & 15 == 8 and int.from_bytes(head, "big") % 31 == 0 else _BARE


def accepted_coding(accept: Optional[str]) -> Optional[bytes]:
    """The coding of an answer by the request's Accept-Encoding: gzip, deflate, or None for none of them."""
    if accept is None:
        return None
    weights = dict(_weight(item) for item in accept.lower().split(","))
    rest = weights.get("*", 0.0)
    best = max(("gzip", "deflate"), key=lambda coding: weights.get(coding, rest))
    return best.encode() if weights.get(best, rest) > 0 else None


def _weight(item: str) -> Tuple[str, float]:
    """A coding and its quality, RFC 9110 section 12.4.2; 0 for a quality that is none."""
    coding, _, parameter = item.partition(";")
    name, _, value = parameter.strip().partition("=")
    try:
        return coding.strip(), float(value) if name.strip() == "q" else 1.0
    except ValueError:
        return coding.strip(), 0.0


def deflate(body: bytes, coding: bytes) -> bytes:
    """An answer's body in a coding of ``accepted_coding``."""
    packer = zlib.compressobj(_LEVEL, zlib.DEFLATED, _GZIP_FORM if coding == b"gzip" else _ZLIB_FORM)
    return packer.compress(body) + packer.flush()
