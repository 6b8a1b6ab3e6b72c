"""The handler: the columns of a row. Batches, protocols and errors by row come from its base."""

from mnist_handler import InputSpec, RowHandler


class TemplateNameHandler(RowHandler):
    """A row is {"usage": [four numbers], "plan": 0, 1 or 2}; the answer is one of two labels."""

    inputs = (InputSpec("usage", "FP32", (4,)), InputSpec("plan", "INT64", (), low=0, high=2))
