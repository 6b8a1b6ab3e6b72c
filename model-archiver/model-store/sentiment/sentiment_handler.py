"""Negative or positive: text in, a label out, and which words spoke for it."""

from __future__ import annotations

import re
from typing import Any, List, Sequence

import numpy as np

from mnist_handler import InputSpec, RowHandler

TOKENS = InputSpec("ids", "INT64", (-1,), pad=0, buckets=(16, 32, 64), companion="mask", embedding="words")


class SentimentClassifier(RowHandler):
    """Words that the model has not seen are [UNK]."""

    inputs = (InputSpec("text", "BYTES", (), becomes=TOKENS),)

    def setup(self, context: Any) -> None:
        self.words = (self.directory / "words.txt").read_text(encoding="utf-8").splitlines()
        self.ids = {word: number for number, word in enumerate(self.words)}

    def encode(self, spec: InputSpec, values: Sequence[Any], parameters: Any) -> List[np.ndarray[Any, Any]]:
        unknown = self.ids["[UNK]"]
        split = [re.findall(r"[a-z']+|[^\sa-z']", text.lower()) for text in values]
        return [np.array([self.ids.get(word, unknown) for word in words], np.int64) for words in split]

    def tokens(self, spec: InputSpec, ids: np.ndarray[Any, Any]) -> List[str]:
        return [self.words[number] for number in ids.tolist()]
