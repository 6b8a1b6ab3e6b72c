"""The handler: what a row is, what a request may ask for, and what an answer is. The rest comes from its base.

Override further what your model needs: load, encode, decode_input, prepare, inference (docs/handler.md).
"""

from mnist_handler import DeclaredParameter, InputSpec, OutputSpec, RowHandler


class TemplateNameHandler(RowHandler):
    """Three numbers in, an estimate out; {"parameters": {"factor": 2}} scales it."""

    inputs = (InputSpec("values", "FP32", (3,)),)
    outputs = (OutputSpec("estimate", "FP32", ()),)
    parameters = (DeclaredParameter("factor", float, 1.0, low=0.0, high=1000.0, text="what estimates are scaled by"),)

    def inference(self, data, factor=1.0):
        return self.model(data).squeeze(1) * factor
