"""Which protocol TorchServe's own envelopes read: a handler that brings none of its own gets no other."""

from __future__ import annotations

from typing import Mapping, Optional

from kserve_wrapper.core.calls import Call, ModelMetadata, V1Call

V1, V2 = "V1", "V2"
#: By ``service_envelope``. Source: TorchServe's request_envelope, 0.9 to 0.12.
READS: Mapping[str, str] = {"kserve": V1, "json": V1, "kservev2": V2}
_ENVELOPE_OF: Mapping[str, str] = {V1: "kserve", V2: "kservev2"}
_SENT: Mapping[str, str] = {V1: "V1 (/v1/models/…)", V2: "V2 (/v2/models/…, gRPC)"}
#: Envelopes that answer only the first of the requests that a worker gets together.
ONE_REQUEST = frozenset({"kserve", "kservev2"})


def wrong_protocol(call: Call, metadata: ModelMetadata, envelope: Optional[str]) -> Optional[str]:
    """Why a call that failed could not be answered: its protocol is not the envelope's. None where it is.

    Args:
        metadata: a handler that lists extensions has envelopes of its own, which read both protocols.
        envelope: ``service_envelope`` as configured.
    """
    reads = None if metadata.extensions else READS.get(envelope or "")
    asked = V1 if isinstance(call, V1Call) else V2
    if reads is None or reads == asked:
        return None
    return (
        f"model {call.model} reads {_SENT[reads]} and not {_SENT[asked]}: before its handler is TorchServe's envelope "
        f"{envelope}. Send {reads}, or have service_envelope={_ENVELOPE_OF[asked]} set for {asked}"
    )
