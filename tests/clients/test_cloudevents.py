"""An eventing client: the CloudEvents SDK writes the request and reads the answer."""

from __future__ import annotations

from typing import Any

import pytest
from cloudevents import conversion
from cloudevents.http import CloudEvent, from_http

from tests.samples import predicted
from tests.serving.mixed import encoded
from tests.serving.servers import Served

REQUESTS = {
    "/v1/models/mnist:predict": {"instances": [{"data": encoded(3)}]},
    "/v2/models/mnist/infer": {"inputs": [{"name": "x", "shape": [1], "datatype": "BYTES", "data": [encoded(3)]}]},
}


@pytest.mark.parametrize("convert", [conversion.to_binary, conversion.to_structured])
@pytest.mark.parametrize("path", REQUESTS)
def test_an_event_is_answered_by_an_event(served: Served, path: str, convert: Any) -> None:
    sent = CloudEvent({"type": "digit", "source": "camera", "datacontenttype": "application/json"}, REQUESTS[path])
    headers, body = convert(sent)
    status, content, answered = served.raw(path, body, headers)
    assert status == 200, content
    event = from_http(answered, content)
    data: Any = event.data
    digits = data["predictions"] if "predictions" in data else data["outputs"][0]["data"]
    assert digits == [predicted()[3]]
    assert (event["type"], event["source"]) == ("io.kserve.inference.response", "io.kserve.inference.mnist")
    assert event["id"] != sent["id"]
