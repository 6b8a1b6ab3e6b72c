"""Coloured words and tables: which are coloured, and that nothing of a client becomes HTML."""

from __future__ import annotations

import re

from hypothesis import given
from hypothesis import strategies as st

from kserve_wrapper.drawing.words import coloured_table, coloured_words


def test_what_says_much_is_coloured_and_what_says_nothing_is_not() -> None:
    shown = coloured_words(["a", "good", "bad", "film"], [0.01, 1.0, -0.9, 0.0], "positive")
    coloured = re.findall(r"background:rgb\((\d+),\d+,(\d+)\)[^>]*>(\w+)<", shown)[:2]
    assert [(int(red) > int(blue), word) for red, blue, word in coloured] == [(True, "good"), (False, "bad")]
    assert "<span>a</span>" in shown
    assert "speaks for positive" in shown


def test_parts_of_a_word_stay_together() -> None:
    shown = re.sub(r"<[^>]*>", "", coloured_words(["play", "##ing", "it"], [0, 0, 0], "x"))
    assert shown.strip().startswith("playing it")


@given(st.lists(st.text(max_size=20), max_size=5), st.text(max_size=20))
def test_nothing_sent_becomes_html(words: list[str], target: str) -> None:
    for shown in (
        coloured_words(words, [1.0] * len(words), target),
        coloured_table(words, words, [1.0] * len(words), target),
    ):
        rest = re.sub(r"</?(?:div|p|span|table|tr|td|th)(?: [a-z]+=\"[^\"<>]*\")*>", "", shown)
        assert "<" not in rest
        assert ">" not in rest


def test_a_table_has_each_columns_value_and_attribution() -> None:
    shown = coloured_table(["usage", "plan"], [3, 1], [0.5, -0.25], "leaves")
    assert "<td>usage</td>" in shown
    assert "<td>+0.5</td>" in shown
    assert "<td>-0.25</td>" in shown
