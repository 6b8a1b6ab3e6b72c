"""Words and numbers coloured by what they say, as HTML that needs nothing from elsewhere."""

from __future__ import annotations

from html import escape
from typing import Any, Sequence

import numpy as np

from kserve_wrapper.drawing.heat import QUIET, css_colour, strongest


def coloured_words(words: Sequence[str], attributions: Sequence[float], target: str) -> str:
    """Words one after the other, red for the class and blue against it.

    Args:
        words: what the model made of the text; ``##`` begins what goes on within a word.
        attributions: a number a word.
        target: the class that was explained.
    """
    values = np.asarray(attributions, dtype=float)
    reach = strongest(values) if values.size else 1.0
    spans = []
    for word, value in zip(words, values):
        shown = escape(word[2:] if word.startswith("##") else word)
        space = "" if word.startswith("##") else " "
        spans.append(f"{space}{_span(shown, value, reach)}")
    return f'<div class="explained">{"".join(spans)}</div>{legend(target)}'


def coloured_table(columns: Sequence[str], values: Sequence[Any], attributions: Sequence[float], target: str) -> str:
    """A row of a table: name, value and attribution of each column."""
    numbers = np.asarray(attributions, dtype=float)
    reach = strongest(numbers) if numbers.size else 1.0
    rows = [
        f"<tr><td>{escape(str(name))}</td><td>{_span(escape(str(value)), number, reach)}</td>"
        f"<td>{number:+.4g}</td></tr>"
        for name, value, number in zip(columns, values, numbers)
    ]
    return (
        '<table class="explained"><tr><th>input</th><th>value</th><th>attribution</th></tr>'
        f"{''.join(rows)}</table>{legend(target)}"
    )


def legend(target: str) -> str:
    """What the colours mean."""
    name = escape(target)
    return (
        f'<p class="legend">{_span("red", 1, 1)} speaks for {name}, {_span("blue", -1, 1)} against it; '
        f"what is not coloured says nothing (below {QUIET:.0%} of the strongest).</p>"
    )


def _span(shown: str, value: float, reach: float) -> str:
    share = float(value) / reach
    if abs(share) < QUIET:
        return f"<span>{shown}</span>"
    ink = "white" if abs(share) > 0.45 else "black"
    return (
        f'<span title="{value:+.4g}" style="background:{css_colour(share)};color:{ink};'
        f'border-radius:3px;padding:0 3px">{shown}</span>'
    )
