"""The OpenAPI description against the application: Schemathesis makes requests of every kind from it."""

from __future__ import annotations

from typing import Any, Iterator

import pytest
import schemathesis
from hypothesis import HealthCheck, settings
from schemathesis.specs.openapi.checks import positive_data_acceptance

from kserve_wrapper.rest.openapi import document
from kserve_wrapper.rest.routes import build_router
from tests.unit.kserve_wrapper.fakes import Front
from tests.unit.kserve_wrapper.live import Live

schema = schemathesis.openapi.from_dict(document())


@pytest.fixture(scope="module")
def live() -> Iterator[Live]:
    with Live(Front(docs=True)) as server:
        yield server


@schema.parametrize()
@settings(max_examples=8, deadline=None, suppress_health_check=list(HealthCheck))
def test_answers_are_as_described(case: Any, live: Live) -> None:
    # A schema cannot say that the data are as many as the shape's product, nor that names are given once.
    unsaid = [positive_data_acceptance] if case.path.endswith(("/infer", "/explain")) else []
    case.call_and_validate(base_url=f"http://127.0.0.1:{live.http_port}", excluded_checks=unsaid)


def test_every_route_is_described() -> None:
    front = Front()
    described = {
        (path, method.upper())
        for path, operations in document()["paths"].items()
        for method in operations
        if method != "parameters"
    }
    routes = build_router(front.plane, front.metrics, docs=False).routes
    assert described == {(route.template, method) for route in routes for method in route.handlers}


DECLARED = [
    {"name": "threshold", "datatype": "FP64", "default": 0.5, "minimum": 0, "maximum": 1, "description": "the least"},
    {"name": "most", "datatype": "INT64", "default": 3.0, "minimum": 1.0},
    {"name": "unit", "datatype": "BYTES", "default": "m", "choices": ["m", "km"]},
    {"name": "quick", "datatype": "BOOL", "default": False},
    *({"name": "odd", "datatype": "FP16"}, {"name": 7, "datatype": "BOOL"}, "nonsense"),
]


def test_what_a_handler_declares_is_described_for_its_model() -> None:
    front = Front(docs=True)
    front.models.extra = {"parameters": DECLARED}
    told = front.call("GET", "/openapi.json").json
    for path, name in (("/v1/models/mnist:predict", "V1Request"), ("/v2/models/mnist/infer", "V2Request")):
        body = told["paths"][path]["post"]["requestBody"]["content"]["application/json"]["schema"]
        common, own = body["allOf"]
        assert common == {"$ref": f"#/components/schemas/{name}"}
        assert own["properties"]["parameters"]["properties"] == {
            "threshold": {"type": "number", "default": 0.5, "minimum": 0, "maximum": 1, "description": "the least"},
            "most": {"type": "integer", "default": 3, "minimum": 1},
            "unit": {"type": "string", "default": "m", "enum": ["m", "km"]},
            "quick": {"type": "boolean", "default": False},
        }
    assert not [path for path in told["paths"] if "loading" in path]
    assert {path: told["paths"][path] for path in document()["paths"]} == document()["paths"]
    assert b"mnist, with its own parameters" in front.call("GET", "/docs").body


@pytest.mark.parametrize("parameters", [None, "text", {"a": 1}, []])
def test_descriptions_without_parameters_add_nothing(parameters: Any) -> None:
    front = Front(docs=True)
    front.models.extra = {"parameters": parameters}
    assert front.call("GET", "/openapi.json").json == document()


def test_the_description_and_its_page_are_served() -> None:
    front = Front(docs=True)
    assert front.call("GET", "/openapi.json").json == document()
    page = front.call("GET", "/docs")
    assert page.headers["content-type"].startswith("text/html")
    assert b"/v2/models/{model}/infer" in page.body
