"""Whether a customer stays or leaves: a table of mixed datatypes, and which of its numbers spoke for it."""

from __future__ import annotations

from mnist_handler import InputSpec, RowHandler


class ChurnClassifier(RowHandler):
    """A row's usage: euros a month, calls to support in a year, months as a customer, gigabytes a month."""

    inputs = (
        InputSpec("usage", "FP32", (4,), low=0, high=1000),
        InputSpec("plan", "INT64", (), low=0, high=3),
        InputSpec("paperless", "BOOL", ()),
    )
