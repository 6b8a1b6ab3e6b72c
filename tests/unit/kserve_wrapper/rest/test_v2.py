"""The Open Inference Protocol over HTTP, line by line."""

from __future__ import annotations

import json
import struct
import time
from typing import Any, Dict

import pytest

from kserve_wrapper.core.calls import Tensor, V2Call, V2Reply
from kserve_wrapper.core.errors import InvalidRequest
from kserve_wrapper.tensors.datatypes import bytes_elements, join_bytes
from tests.unit.kserve_wrapper.fakes import Front

INFER = "/v2/models/mnist/infer"
FP32: Dict[str, Any] = {"name": "input", "datatype": "FP32", "shape": [1, 2], "data": [1.0, 2.0]}


def v2_call(front: Front) -> V2Call:
    call = front.submitter.calls[0]
    assert isinstance(call, V2Call)
    return call


@pytest.mark.parametrize(("live", "status"), [(True, 200), (False, 503)])
def test_live(live: bool, status: int) -> None:
    front = Front()
    front.models.is_live = live
    answer = front.call("GET", "/v2/health/live")
    assert (answer.status, answer.json) == (status, {"live": live})


def test_ready_and_why_not() -> None:
    front = Front()
    answer = front.call("GET", "/v2/health/ready")
    assert (answer.status, answer.json) == (200, {"ready": True})
    front.models.is_ready = False
    answer = front.call("GET", "/v2/health/ready")
    assert (answer.status, answer.json) == (503, {"ready": False, "reason": "model loading: its worker is loading"})
    front.plane.leave()
    answer = front.call("GET", "/v2/health/ready")
    assert (answer.status, answer.json) == (503, {"ready": False, "reason": "the server is shutting down"})
    answer = front.call("GET", "/v2/models/mnist/ready")
    assert answer.json == {"name": "mnist", "ready": False, "reason": "the server is shutting down"}


@pytest.mark.parametrize("path", ["/v2/models/mnist/ready", "/v2/models/mnist/versions/2.0/ready"])
def test_a_model_is_ready(path: str) -> None:
    answer = Front().call("GET", path)
    assert (answer.status, answer.json) == (200, {"name": "mnist", "ready": True})


def test_a_model_is_not_ready() -> None:
    answer = Front().call("GET", "/v2/models/loading/ready")
    assert (answer.status, answer.json) == (
        503,
        {"name": "loading", "ready": False, "reason": "its worker is loading"},
    )


@pytest.mark.parametrize(
    "path",
    ["/v2/models/x", "/v2/models/x/ready", "/v2/models/mnist/versions/9", "/v2/models/mnist/versions/9/ready"],
)
def test_unknown_models_and_versions(path: str) -> None:
    answer = Front().call("GET", path)
    assert answer.status == 404
    assert list(answer.json) == ["error"]


def test_server_metadata() -> None:
    content = Front().call("GET", "/v2").json
    assert sorted(content) == ["extensions", "name", "version"]
    assert "binary_tensor_data" in content["extensions"]


@pytest.mark.parametrize("path", ["/v2/models/mnist", "/v2/models/mnist/versions/1.0"])
def test_model_metadata(path: str) -> None:
    assert Front().call("GET", path).json == {
        "name": "mnist",
        "versions": ["1.0", "2.0"],
        "platform": "pytorch_eager",
        "inputs": [{"name": "input", "datatype": "FP32", "shape": [-1, 2]}],
        "outputs": [{"name": "predict", "datatype": "INT64", "shape": [-1]}],
    }


def test_what_a_handler_tells_of_itself_is_told_as_over_grpc() -> None:
    front = Front()
    front.models.extra = {"labels": ["a", "b"], "tensors": "unit"}
    assert front.call("GET", "/v2/models/mnist").json["properties"] == {"labels": '["a","b"]', "tensors": "unit"}


def test_what_is_not_ready_has_no_metadata_yet() -> None:
    answer = Front().call("GET", "/v2/models/loading")
    assert answer.status == 503
    assert answer.json == {"error": "model loading is not ready: its worker is loading"}
    assert Front().call("GET", "/v2/models/nobody").status == 404


def test_infer_without_a_version_tells_none() -> None:
    answer = Front().call("POST", INFER, {"inputs": [FP32]})
    assert answer.status == 200
    assert answer.json == {"model_name": "mnist", "outputs": [FP32]}


@pytest.mark.parametrize("verb", ["infer", "explain"])
def test_a_version_is_asked_for_and_told(verb: str) -> None:
    front = Front()
    answer = front.call("POST", f"/v2/models/mnist/versions/2.0/{verb}", {"inputs": [FP32]})
    assert answer.json["model_version"] == "2.0"
    assert (v2_call(front).version, v2_call(front).explain) == ("2.0", verb == "explain")


def test_the_id_comes_back_and_does_not_stay() -> None:
    front = Front()
    assert front.call("POST", INFER, {"id": "42", "inputs": [FP32]}).json["id"] == "42"
    assert "id" not in front.call("POST", INFER, {"inputs": [FP32]}).json


@pytest.mark.parametrize("data", [[1, 2, 3, 4], [[1, 2], [3, 4]]])
def test_nested_and_flat_data_are_the_same(data: Any) -> None:
    front = Front()
    answer = front.call("POST", INFER, {"inputs": [{**FP32, "shape": [2, 2], "data": data}]})
    assert answer.json["outputs"][0]["data"] == [1.0, 2.0, 3.0, 4.0]
    assert v2_call(front).inputs[0].data == struct.pack("<4f", 1, 2, 3, 4)


@pytest.mark.parametrize(
    "change",
    [
        {"shape": [3]},
        {"shape": [-1]},
        {"shape": "x"},
        {"shape": [1.5]},
        {"datatype": "FP33"},
        {"datatype": None},
        {"name": 5},
        {"data": "x"},
        {"data": [1, "a"]},
        {"data": [[1], [2, 3]]},
        {"data": [None, 1]},
        {"parameters": {"a": {}}},
        {"parameters": 3},
    ],
)
def test_a_wrong_tensor_is_named(change: Dict[str, Any]) -> None:
    front = Front()
    answer = front.call("POST", INFER, {"inputs": [{**FP32, **change}]})
    assert answer.status == 400
    assert "inputs[0]" in answer.json["error"]
    assert not front.submitter.calls


@pytest.mark.parametrize(
    "body",
    [
        b"",
        b"[]",
        {},
        {"inputs": []},
        {"inputs": {}},
        {"id": 5, "inputs": [FP32]},
        {"inputs": [FP32], "outputs": 1},
        {"inputs": [FP32], "parameters": {"a": []}},
        {"inputs": [FP32], "outputs": [{}]},
    ],
)
def test_a_wrong_request_is_the_clients_fault(body: Any) -> None:
    answer = Front().call("POST", INFER, body)
    assert answer.status == 400
    assert list(answer.json) == ["error"]


def test_parameters_travel() -> None:
    front = Front()
    parameters = {"text": "a", "number": 1.5, "count": 3, "flag": True}
    front.call("POST", INFER, {"parameters": parameters, "inputs": [{**FP32, "parameters": parameters}]})
    assert v2_call(front).parameters == parameters
    assert v2_call(front).inputs[0].parameters == parameters


def test_outputs_are_filtered_in_the_order_asked_for() -> None:
    front = Front()
    one = Tensor("one", "INT64", (1,), struct.pack("<q", 1))
    front.submitter.reply = V2Reply([one, Tensor("two", "INT64", (1,), struct.pack("<q", 2))])
    body = {"inputs": [FP32], "outputs": [{"name": "two"}, {"name": "one"}]}
    assert [o["name"] for o in front.call("POST", INFER, body).json["outputs"]] == ["two", "one"]
    assert v2_call(front).outputs == ["two", "one"]
    missing = front.call("POST", INFER, {"inputs": [FP32], "outputs": [{"name": "three"}]})
    assert missing.status == 400
    assert "three" in missing.json["error"]


@pytest.mark.parametrize("name", ["classification", "shared_memory_region"])
def test_what_would_change_the_answers_form_is_refused(name: str) -> None:
    body = {"inputs": [FP32], "outputs": [{"name": "input", "parameters": {name: "x"}}]}
    assert Front().call("POST", INFER, body).status == 400


@pytest.mark.parametrize("shape", [-1, [], [-1], [2]])
def test_bytes_with_an_open_shape(shape: Any) -> None:
    front = Front()
    tensor = {"name": "input", "datatype": "BYTES", "shape": shape, "data": ["ab", "c"]}
    output = front.call("POST", INFER, {"inputs": [tensor]}).json["outputs"][0]
    assert (output["shape"], output["data"]) == ([2], ["ab", "c"])


def test_fp16_stays_fp16() -> None:
    tensor = {"name": "input", "datatype": "FP16", "shape": [2], "data": [0.5, 65504]}
    output = Front().call("POST", INFER, {"inputs": [tensor]}).json["outputs"][0]
    assert (output["datatype"], output["data"]) == ("FP16", [0.5, 65504.0])


def test_nan_and_infinity_have_names() -> None:
    tensor = {**FP32, "shape": [3], "data": ["NaN", "Infinity", "-Infinity"]}
    answer = Front().call("POST", INFER, {"inputs": [tensor]})
    assert answer.json["outputs"][0]["data"] == ["NaN", "Infinity", "-Infinity"]
    assert (
        Front().call("POST", INFER, b'{"inputs":[{"name":"i","datatype":"FP32","shape":[1],"data":[NaN]}]}').status
        == 400
    )


def binary_request(header: Dict[str, Any], data: bytes) -> Any:
    text = json.dumps(header).encode()
    return {"body": text + data, "headers": {"Inference-Header-Content-Length": str(len(text))}}


def test_binary_in_and_out() -> None:
    data = struct.pack("<4e", 1, 2, 3, 4)
    tensor = {"name": "input", "datatype": "FP16", "shape": [2, 2], "parameters": {"binary_data_size": 8}}
    header = {"id": "7", "inputs": [tensor], "parameters": {"binary_data_output": True}}
    front = Front()
    answer = front.call("POST", INFER, **binary_request(header, data))
    length = int(answer.headers["inference-header-content-length"])
    assert answer.headers["content-type"] == "application/octet-stream"
    assert answer.body[length:] == data
    expected = {"name": "input", "datatype": "FP16", "shape": [2, 2], "parameters": {"binary_data_size": 8}}
    assert json.loads(answer.body[:length]) == {"model_name": "mnist", "id": "7", "outputs": [expected]}
    assert v2_call(front).parameters == {}


def test_each_output_may_be_binary_by_itself() -> None:
    front = Front()
    data = join_bytes([b"a", b"\xff"])
    front.submitter.reply = V2Reply([Tensor("b", "BYTES", (2,), data), Tensor("n", "INT8", (1,), b"\x05")])
    outputs = [{"name": "n", "parameters": {"binary_data": False}}, {"name": "b"}]
    body = {"inputs": [FP32], "outputs": outputs, "parameters": {"binary_data_output": True}}
    answer = front.call("POST", INFER, body)
    length = int(answer.headers["inference-header-content-length"])
    assert answer.body[length:] == data
    described = json.loads(answer.body[:length])["outputs"]
    assert described[0] == {"name": "n", "datatype": "INT8", "shape": [1], "data": [5]}
    assert described[1]["parameters"] == {"binary_data_size": len(data)}


def test_bytes_that_are_no_text_need_binary_data() -> None:
    front = Front()
    front.submitter.reply = V2Reply([Tensor("b", "BYTES", (1,), join_bytes([b"\xff"]))])
    answer = front.call("POST", INFER, {"inputs": [FP32]})
    assert answer.status == 400
    assert "binary_data" in answer.json["error"]


@pytest.mark.parametrize("length", ["-1", "x", "99999", "٣"])
def test_a_wrong_header_length(length: str) -> None:
    headers = {"inference-header-content-length": length.encode("utf-8").decode("latin-1")}
    assert Front().call("POST", INFER, {"inputs": [FP32]}, headers).status == 400


@pytest.mark.parametrize(("size", "sent"), [(8, 4), (4, 8), (0, 8)])
def test_binary_sizes_must_fit(size: int, sent: int) -> None:
    tensor = {"name": "i", "datatype": "FP32", "shape": [2], "parameters": {"binary_data_size": size}}
    answer = Front().call("POST", INFER, **binary_request({"inputs": [tensor]}, b"\0" * sent))
    assert answer.status == 400


def test_the_repository() -> None:
    front = Front()
    assert [e["name"] for e in front.call("POST", "/v2/repository/index").json] == ["mnist", "other"]
    assert [e["name"] for e in front.call("POST", "/v2/repository/index", {"ready": True}).json] == ["mnist"]
    assert front.call("POST", "/v2/repository/models/other/load").status == 200
    assert front.call("POST", "/v2/repository/models/mnist/unload", {}).status == 200
    assert front.repository.asked[2:] == [("load", "other"), ("unload", "mnist")]


@pytest.mark.parametrize("parameters", [{"config": "{}"}, {"file:1/model.pt": "AAAA"}, [], "x"])
def test_what_a_load_does_not_honour_is_refused(parameters: Any) -> None:
    front = Front()
    answer = front.call("POST", "/v2/repository/models/other/load", {"parameters": parameters})
    if parameters:
        assert answer.status == 400
    else:
        assert answer.status == 200
    assert front.call("POST", "/v2/repository/index", {"ready": 1}).status == 400


def elements(front: Front) -> Any:
    tensor = v2_call(front).inputs[0]
    return tensor.shape, bytes_elements(tensor.data)


@pytest.mark.parametrize(
    ("shape", "data", "wanted"),
    [
        (-1, "aGk=", [b"aGk="]),
        ([1], "aGk=", [b"aGk="]),
        ([], [{"text": "good film"}], [b'{"text":"good film"}']),
        (2, ["a", "b"], [b"a", b"b"]),
    ],
)
def test_the_forms_of_official_samples(shape: Any, data: Any, wanted: Any) -> None:
    front = Front()
    body = {"inputs": [{"name": "input", "datatype": "BYTES", "shape": shape, "data": data}]}
    assert front.call("POST", INFER, body).status == 200
    assert elements(front) == ((len(wanted),), wanted)


def test_a_bare_number_as_the_shape_of_numbers() -> None:
    front = Front()
    body = {"inputs": [{"name": "input", "datatype": "INT64", "shape": 3, "data": [1, 2, 3]}]}
    assert front.call("POST", INFER, body).json["outputs"][0]["shape"] == [3]


@pytest.mark.parametrize("spelling", ["int64_contents", "int64Contents"])
def test_grpcs_json_form_is_read_as_grpc_reads_it(spelling: str) -> None:
    front = Front()
    tensor = {"name": "input", "datatype": "INT64", "shape": [3], "contents": {spelling: [1, "2", -3]}}
    assert front.call("POST", INFER, {"model_name": "mnist", "inputs": [tensor]}).status == 200
    assert v2_call(front).inputs[0].data == struct.pack("<3q", 1, 2, -3)


def test_grpcs_json_form_has_bytes_as_base64() -> None:
    front = Front()
    tensor = {"name": "x", "datatype": "BYTES", "shape": [-1], "contents": {"bytes_contents": ["/wA=", "aGk="]}}
    front.call("POST", INFER, {"inputs": [tensor], "parameters": {"binary_data_output": True}})
    assert elements(front) == ((2,), [b"\xff\0", b"hi"])


@pytest.mark.parametrize(
    ("change", "text"),
    [
        ({"contents": {"fp32_contents": [1]}}, "int64_contents, not fp32_contents"),
        ({"contents": [1]}, "contents must be a JSON object"),
        ({"contents": {"int64_contents": ["x"]}}, "element 0 is not an integer"),
        ({"datatype": "FP16", "contents": {}}, "no typed contents"),
        ({"datatype": "BYTES", "contents": {"bytes_contents": ["*"]}}, "not base64"),
        ({"parameters": {"shared_memory_region": "r"}}, "shared memory is not offered"),
        ({"parameters": {"nested": [1]}}, "'nested'"),
    ],
)
def test_a_wrong_form_is_named(change: Dict[str, Any], text: str) -> None:
    answer = Front().call("POST", INFER, {"inputs": [{"name": "in", "datatype": "INT64", "shape": [1], **change}]})
    assert answer.status == 400
    assert text in answer.json["error"]
    assert "inputs[0] ('in')" in answer.json["error"]


def test_a_parameter_that_is_null_is_not_given() -> None:
    front = Front()
    given = {"a": None, "b": 1}
    front.call("POST", INFER, {"parameters": given, "inputs": [{**FP32, "parameters": given}]})
    assert v2_call(front).parameters == v2_call(front).inputs[0].parameters == {"b": 1}


def test_what_steers_triton_stays_here() -> None:
    front = Front(request_timeout=60)
    given = {"priority": 1, "triton_x": True, "sequence_id": 0, "timeout": 2_000_000, "own": 1}
    before = time.monotonic()
    front.call("POST", INFER, {"parameters": given, "inputs": [FP32]})
    assert v2_call(front).parameters == {"own": 1}
    assert front.submitter.deadlines[0] < before + 60
    assert front.submitter.deadlines[0] >= before + 2


@pytest.mark.parametrize(
    ("given", "text"),
    [({"sequence_id": 4}, "sequence_id"), ({"sequence_start": True}, "sequence"), ({"timeout": "1"}, "microseconds")],
)
def test_what_would_change_the_answer_is_refused(given: Dict[str, Any], text: str) -> None:
    answer = Front().call("POST", INFER, {"parameters": given, "inputs": [FP32]})
    assert answer.status == 400
    assert text in answer.json["error"]


def test_bf16_is_two_bytes_an_element() -> None:
    front = Front()
    head = {"inputs": [{"name": "x", "datatype": "BF16", "shape": [2], "parameters": {"binary_data_size": 4}}]}
    text = json.dumps(head).encode()
    body = text + bytes.fromhex("803f00c0")
    answer = front.call("POST", INFER, body, {"inference-header-content-length": str(len(text))})
    assert answer.json["outputs"][0] == {"name": "x", "datatype": "BF16", "shape": [2], "data": [1.0, -2.0]}


def test_the_servers_metadata_at_the_protocols_own_path() -> None:
    front = Front()
    assert front.call("GET", "/v2/").json == front.call("GET", "/v2").json


def test_errors_name_an_input_as_its_client_named_it() -> None:
    front = Front()
    front.submitter.error = InvalidRequest("row 0: input input: no number", rows={0: 'input "input": no number'})
    answer = front.call("POST", INFER, {"inputs": [{**FP32, "name": "mine"}]})
    assert answer.json == {"error": "row 0: input mine: no number"}
