"""Token ids, 128 a row."""

from mnist_handler import InputSpec, RowHandler


class EncoderHandler(RowHandler):
    inputs = (InputSpec("ids", "INT64", (128,), low=0, high=30521),)
    classifies = False
    explainable = False
