"""V1's codec: what goes in comes out, and nothing but InvalidRequest is raised."""

from __future__ import annotations

import json
from typing import Any, List

import orjson
import pytest
from hypothesis import given
from hypothesis import strategies as st

from kserve_wrapper.codecs import v1
from kserve_wrapper.core.calls import V1Reply
from kserve_wrapper.core.errors import InvalidRequest
from tests.unit.kserve_wrapper.codecs.strategies import json_values


@given(instances=st.lists(json_values, min_size=1, max_size=4), key=st.sampled_from(["instances", "inputs"]))
def test_instances_are_taken_as_they_are(instances: List[Any], key: str) -> None:
    call = v1.decode_request(orjson.dumps({key: instances, "other": 1}), "m", False, {})
    assert call.instances == instances
    assert call.extra == {"other": 1}


@given(results=st.lists(json_values, max_size=4), explain=st.booleans())
def test_results_are_written_in_order(results: List[Any], explain: bool) -> None:
    content = json.loads(v1.encode_reply(V1Reply(results), explain))
    assert content == {"explanations" if explain else "predictions": results}


@given(body=st.one_of(st.binary(max_size=64), json_values.map(orjson.dumps)))
def test_nothing_but_invalid_request(body: bytes) -> None:
    try:
        call = v1.decode_request(body, "m", False, {})
    except InvalidRequest:
        return
    assert call.instances


def test_one_of_the_two_keys() -> None:
    with pytest.raises(InvalidRequest, match="exactly one"):
        v1.decode_request(b'{"instances":[1],"inputs":[1]}', "m", False, {})
