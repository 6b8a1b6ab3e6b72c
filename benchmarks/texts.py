"""Texts of unequal lengths, as a sentence encoder's clients send them."""

from __future__ import annotations

import random
from typing import List

WORDS = (
    *("the", "river", "was", "quiet", "after", "rain", "and", "people", "walked", "home", "with", "their", "children"),
    *(
        "a",
        "letter",
        "arrived",
        "on",
        "monday",
        "nobody",
        "could",
        "read",
        "its",
        "last",
        "page",
        "machine",
        "learning",
    ),
)
#: Words of a text: most are short, a few are long.
LENGTHS = (4, 6, 8, 10, 12, 16, 24, 48, 90)


def sentences(count: int) -> List[str]:
    """The same texts for the same count."""
    source = random.Random(count)
    return [" ".join(source.choices(WORDS, k=source.choice(LENGTHS))) for _ in range(count)]
