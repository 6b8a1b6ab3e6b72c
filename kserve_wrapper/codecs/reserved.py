"""Request parameters that Triton's clients send and that steer the server, not the model.

``timeout`` is a deadline. ``priority`` and ``triton_*`` ask for what does not change an answer, and are left out.
Sequences would: requests of one would have to meet one worker in order, so they are refused.
"""

from __future__ import annotations

from typing import Dict, Optional, Union

from kserve_wrapper.core.errors import InvalidRequest

_TIMEOUT = "timeout"
_PRIORITY = "priority"
_SEQUENCE = ("sequence_id", "sequence_start", "sequence_end")


def take_reserved(parameters: Dict[str, Union[str, float, int, bool]]) -> Optional[float]:
    """Removes them from a request's parameters.

    Returns:
        Seconds that the client waits; None where it does not tell.

    Raises:
        InvalidRequest: a sequence; a timeout that is no number of microseconds.
    """
    for name in [name for name in parameters if name == _PRIORITY or name.startswith("triton_")]:
        del parameters[name]
    for name in _SEQUENCE:
        # Zero, no text and false are how clients say that there is no sequence.
        if parameters.pop(name, None):
            raise InvalidRequest(f"parameter {name!r}: sequences are not offered here, each request stands alone")
    timeout = parameters.pop(_TIMEOUT, 0)
    if isinstance(timeout, bool) or not isinstance(timeout, (int, float)) or not 0 <= timeout < 2**63:
        raise InvalidRequest(f"parameter {_TIMEOUT!r} must be a number of microseconds")
    return timeout / 1e6 if timeout else None
