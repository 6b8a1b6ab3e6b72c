"""Errors speak of an input by the name that its client gave it.

A single input goes to the handler under the handler's own name, so that requests of all clients may share a batch; so
what the handler says of it has that name.
"""

from __future__ import annotations

import re

from kserve_wrapper.core.calls import ModelMetadata, V2Call
from kserve_wrapper.core.errors import WrapperError


def name_input(error: WrapperError, call: V2Call, metadata: ModelMetadata) -> None:
    """Puts the client's name of a single input in the place of the handler's, in the error's texts."""
    if len(call.inputs) != 1 or len(metadata.inputs) != 1:
        return
    theirs, own = metadata.inputs[0].name, call.inputs[0].name
    if theirs == own:
        return
    said = re.compile(rf'\b(input "?){re.escape(theirs)}(?=["\s:,;]|$)')
    error.message = said.sub(lambda found: found[1] + own, error.message)
    error.args = (error.message,)
    error.rows = {row: said.sub(lambda found: found[1] + own, text) for row, text in error.rows.items()}
