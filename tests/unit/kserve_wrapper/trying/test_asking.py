"""Answers in words, explanations by input, and a server's errors in its own words."""

from __future__ import annotations

import json
import shlex
import threading
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any, Iterator

import pytest

from kserve_wrapper.core.sockets import free_port
from kserve_wrapper.trying import answers, asking, forms
from kserve_wrapper.trying.client import Server, ServerError
from tests.unit.kserve_wrapper.trying.test_forms import CHURN, metadata

TEXT = metadata(
    ("text", "BYTES", []),
    labels=["bad", "good"],
    optional_outputs=[{"name": "probabilities", "shape": [-1, 2]}, {"name": "explain"}],
)


def output(name: str, datatype: str, shape: list[int], data: list[Any]) -> dict[str, Any]:
    return {"name": name, "datatype": datatype, "shape": shape, "data": data}


PREDICTED = {
    "outputs": [output("predict", "BYTES", [1], ["good"]), output("probabilities", "FP32", [1, 2], [0.25, 0.75])]
}
EXPLAINED = {
    "outputs": [
        output("explain", "FP32", [1, 3], [0.1, 2.0, 0.0]),
        output("explain_length", "INT64", [1], [2]),
        output("tokens", "BYTES", [1, 3], ["a", "film", ""]),
        output("target", "BYTES", [1], ["good"]),
    ]
}


class Handler(BaseHTTPRequestHandler):
    """Answers what the server of a fixture was told, by path, to bodies of no more than its limit."""

    def do_GET(self) -> None:
        self.do_POST()

    def do_POST(self) -> None:
        size, limit = int(self.headers.get("Content-Length") or 0), self.server.limit  # type: ignore[attr-defined]
        self.rfile.read(size)
        status, content = self.server.told.get(self.path, (404, b'{"error": "nothing here"}'))  # type: ignore[attr-defined]
        if size > limit:
            status, content = 413, json.dumps({"error": f"larger than the limit of {limit} bytes"}).encode()
        self.send_response(status)
        self.send_header("Content-Length", str(len(content)))
        self.end_headers()
        self.wfile.write(content)

    def log_message(self, *arguments: Any) -> None:
        pass


@pytest.fixture
def told(request: pytest.FixtureRequest) -> Iterator[tuple[Server, dict[str, tuple[int, bytes]]]]:
    """A server of anything at all, for what a right one never says; a parameter is the bytes that it takes."""
    with ThreadingHTTPServer(("127.0.0.1", 0), Handler) as listening:
        listening.told, listening.limit = {}, getattr(request, "param", 10**9)  # type: ignore[attr-defined]
        thread = threading.Thread(target=listening.serve_forever, args=(0.02,))
        thread.start()
        yield Server(f"http://127.0.0.1:{listening.server_port}/"), listening.told  # type: ignore[attr-defined]
        listening.shutdown()
        thread.join()


def test_the_best_classes_and_the_answer_in_words() -> None:
    form = forms.read_form(TEXT)
    arrays = answers.outputs(PREDICTED)
    assert list(answers.scores(form, arrays).items()) == [("good", 0.75), ("bad", 0.25)]
    assert answers.in_words(form, arrays) == "good, 75.0%"
    assert answers.class_in_words("7") == "a 7"
    many = answers.outputs({"outputs": [output("embedding", "FP32", [1, 20], [0.5] * 20)]})
    assert answers.in_words(forms.read_form(CHURN), many).endswith(", … (20 values)")


def test_explanations_have_their_own_length_words_and_target() -> None:
    [one] = answers.explanations(forms.read_form(TEXT), EXPLAINED)
    assert (one.values.tolist(), one.words, one.target) == ([0.1, 2.0], ["a", "film"], "good")


def test_an_older_answer_names_its_class_in_a_parameter() -> None:
    body = {"parameters": {"targets": "1"}, "outputs": [output("explain", "FP32", [1, 1], [1.0])]}
    assert answers.explanations(forms.read_form(TEXT), body)[0].target == "good"


@pytest.mark.parametrize("body", [{}, {"outputs": [output("x", "FP32", [2], [1.0])]}, {"outputs": [{}]}])
def test_an_answer_of_no_protocol_is_told(body: Any) -> None:
    with pytest.raises(ServerError):
        answers.explanations(forms.read_form(TEXT), body)


def test_a_question_is_asked_explained_and_given_as_curl(told: Any) -> None:
    server, paths = told
    paths["/v2/models/m/infer"] = (200, json.dumps(PREDICTED).encode())
    paths["/v2/models/m/explain"] = (200, json.dumps(EXPLAINED).encode())
    shown = asking.ask(server, forms.read_form(TEXT), asking.Question("m", text="it's", method="saliency", target=1))
    assert (shown.words, shown.errors) == ("good, 75.0%", [])
    assert "film" in shown.html
    assert [word for line in shown.curl for word in shlex.split(line)[1:2]] == [
        f"{server.base}/v2/models/m/infer",
        f"{server.base}/v2/models/m/explain",
    ]
    sent = json.loads(shlex.split(shown.curl[1])[3])
    assert sent["inputs"][0]["data"] == ["it's"]
    assert json.loads(shown.files["explain.json"]) == sent


def test_a_long_request_is_read_from_a_file() -> None:
    assert answers.curl("http://h/x", {"a": "b" * 10_000}, "infer.json") == "curl http://h/x -d @infer.json"


def test_the_prediction_stays_where_the_explanation_fails(told: Any) -> None:
    server, paths = told
    paths["/v2/models/m/infer"] = (200, json.dumps(PREDICTED).encode())
    paths["/v2/models/m/explain"] = (400, b'{"error": "method x: no such method"}')
    shown = asking.ask(server, forms.read_form(TEXT), asking.Question("m", text="t", method="x"))
    assert (shown.words, shown.errors) == ("good, 75.0%", ["400: method x: no such method"])


@pytest.mark.parametrize(
    ("answer", "message"),
    [
        ((503, b'{"error": "model m is not ready: its worker is loading"}'), "503: model m is not ready: its worker"),
        ((500, b"<html>"), "500: <html>"),
        ((200, b"[]"), "answered what is no object of the protocol"),
        ((200, b"\xff"), "answered what is no object of the protocol"),
    ],
)
def test_errors_are_the_servers_own_words(told: Any, answer: tuple[int, bytes], message: str) -> None:
    server, paths = told
    paths["/v2/models"] = answer
    with pytest.raises(ServerError, match=message):
        server.models()


def test_a_server_that_is_not_there_is_told() -> None:
    with pytest.raises(ServerError, match="Is the server running"):
        Server(f"127.0.0.1:{free_port()}").models()
    for base in ("ftp://x", "http://"):
        with pytest.raises(ValueError, match="no address of a server"):
            Server(base)
