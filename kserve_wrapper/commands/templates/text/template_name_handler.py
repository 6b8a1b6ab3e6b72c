"""The handler: what a row is, and how text becomes numbers. Batches, protocols and errors come from its base."""

import numpy as np
from words import numbers

from mnist_handler import InputSpec, RowHandler

#: Rows of unequal length share a batch: shorter ones are filled up with 0, and the model gets their mask.
IDS = InputSpec("ids", "INT64", (-1,), low=0, high=4095, pad=0, buckets=(8, 16, 32, 64, 128), companion="mask")


class TemplateNameHandler(RowHandler):
    """Text of at most 128 words in, one of two labels out."""

    inputs = (InputSpec("text", "BYTES", (), becomes=IDS),)

    def encode(self, spec, values, parameters):
        return [np.array(numbers(text), np.int64) for text in values]
