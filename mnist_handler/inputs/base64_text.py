"""Base64 text to bytes: strict about its letters, forgiving about line breaks and ``data:`` URLs."""

from __future__ import annotations

import binascii


class TextError(ValueError):
    """This text is not base64; the message says why."""


def decode_base64(text: str) -> bytes:
    """Decode base64, also with white space in it or as a ``data:…;base64,`` URL.

    Raises:
        TextError: other letters, wrong padding, a URL that is not base64.
    """
    if text.startswith("data:"):
        head, comma, text = text.partition(",")
        if not comma or not head.endswith(";base64"):
            raise TextError("a data: URL without ;base64")
    decoded = _decode(text)
    if decoded is None:
        decoded = _decode("".join(text.split()))
    if decoded is None:
        raise TextError("neither an image nor base64 text")
    return decoded


def _decode(text: str) -> bytes | None:
    """The lenient decoder of the standard library skips foreign letters: the length tells whether it did."""
    if not text or len(text) % 4:
        return None
    try:
        decoded = binascii.a2b_base64(text)
    except ValueError:  # binascii.Error, or letters beyond ASCII
        return None
    expected = len(text) // 4 * 3 - (text.endswith("=") + text.endswith("=="))
    return decoded if len(decoded) == expected else None
