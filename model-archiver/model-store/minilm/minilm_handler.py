"""Sentence embeddings out of raw text: the tokenizer, and what the model takes and gives."""

from __future__ import annotations

from typing import Any, List, Sequence

import numpy as np
from wordpiece import WordPiece

from mnist_handler import InputSpec, OutputSpec, RowHandler

TOKENS = InputSpec("ids", "INT64", (-1,), low=0, high=30521, pad=0, buckets=(16, 32, 64, 128, 256), companion="mask")


class SentenceEncoder(RowHandler):
    """Text in, a unit vector of 384 numbers out; the cosine of two is how near the texts are in meaning."""

    inputs = (InputSpec("text", "BYTES", (), becomes=TOKENS),)
    outputs = (OutputSpec("embedding", "FP32", (384,)),)

    def setup(self, context: Any) -> None:
        self.tokenizer = WordPiece((self.directory / "vocab.txt").read_text(encoding="utf-8").splitlines())

    def encode(self, spec: InputSpec, values: Sequence[Any], parameters: Any) -> List[np.ndarray[Any, Any]]:
        return [np.array(self.tokenizer(text), np.int64) for text in values]
