"""The handler: what a row is, and how text becomes numbers. Batches, protocols and errors come from its base."""

import json
import re

import numpy as np

from mnist_handler import InputSpec, RowHandler

#: Rows of unequal length share a batch: shorter ones are filled up with 0, and the model gets their mask. Explanations
#: go by the model's layer ``vectors``.
IDS = InputSpec(
    "ids",
    "INT64",
    (-1,),
    low=0,
    high=255,
    pad=0,
    buckets=(8, 16, 32, 64, 128),
    companion="mask",
    embedding="vectors",
)


class TemplateNameHandler(RowHandler):
    """Text of at most 128 words in, one of two labels out. Put your tokenizer into encode and tokens."""

    inputs = (InputSpec("text", "BYTES", (), becomes=IDS),)

    def setup(self, context):
        self.words = json.loads((self.directory / "vocabulary.json").read_text(encoding="utf-8"))
        self.numbers = {word: number for number, word in enumerate(self.words)}

    def encode(self, spec, values, parameters):
        found = [re.findall(r"\w+", text.lower()) or [""] for text in values]
        return [np.array([self.numbers.get(word, 1) for word in words], np.int64) for words in found]

    def tokens(self, spec, ids):
        return [self.words[number] for number in ids]
