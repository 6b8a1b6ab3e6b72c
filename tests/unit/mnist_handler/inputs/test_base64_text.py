from __future__ import annotations

import base64

import pytest
from hypothesis import given
from hypothesis import strategies as st

from mnist_handler.inputs.base64_text import TextError, decode_base64


@given(st.binary(min_size=1), st.sampled_from(["{}", " {}\n", "data:image/png;base64,{}"]))
def test_round_trip(data: bytes, form: str) -> None:
    assert decode_base64(form.format(base64.b64encode(data).decode())) == data


@given(st.binary(min_size=1))
def test_line_breaks_are_forgiven(data: bytes) -> None:
    assert decode_base64(base64.encodebytes(data).decode()) == data


@given(st.binary(min_size=3), st.data())
def test_a_foreign_letter_is_never_skipped(data: bytes, draw: st.DataObject) -> None:
    text = base64.b64encode(data).decode()
    place = draw.draw(st.integers(0, len(text) - 1))
    letter = draw.draw(st.sampled_from("-_*!é\x00"))
    with pytest.raises(TextError):
        decode_base64(text[:place] + letter + text[place:])
    with pytest.raises(TextError):
        decode_base64(text[:place] + letter + text[place + 1 :])


@pytest.mark.parametrize("text", ["", "abc", "====", "ab=c", "data:image/png,abcd", "data:text/plain;base64"])
def test_other_text_is_refused(text: str) -> None:
    with pytest.raises(TextError):
        decode_base64(text)
