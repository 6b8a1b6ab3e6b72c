"""docs/handler.md, "A handler without this base": what it sees behind TorchServe's envelopes, and what clients hear."""

from __future__ import annotations

import importlib.util
import re
from pathlib import Path
from typing import Any, Dict, List, Tuple

import orjson
import pytest
import torch
import ts
from ts.service import Service

from kserve_wrapper.core.calls import Call, ModelMetadata, Tensor, V1Call, V2Call, V2Reply
from kserve_wrapper.tensors.datatypes import values_of
from kserve_wrapper.upstream.codec import decode_reply, encode_call
from tests.unit.mnist_handler.conftest import ROOT, RequestProcessor, make_context

STOCK = ModelMetadata("m", ["1"])
PAGE = (ROOT / "docs" / "handler.md").read_text(encoding="utf-8").split("### A handler without this base")[1]


def stock(name: str, class_name: str) -> Any:
    """TorchServe's own envelope, from its file: other tests put this project's in its place."""
    path = Path(ts.__file__).parent / "torch_handler" / "request_envelope" / f"{name}.py"
    spec = importlib.util.spec_from_file_location(f"ts.torch_handler.request_envelope.stock_{name}", path)
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return getattr(module, class_name)


KSERVE, KSERVE_V2 = stock("kserve", "KServeEnvelope"), stock("kservev2", "KServev2Envelope")


def served(envelope: Any) -> Any:
    """TorchServe's own entry point to the handler as the page has it, with a model that sums two pairs."""
    (block,) = re.findall(r"```python\n(.*?)```", PAGE.split("### ")[0], re.DOTALL)
    space: Dict[str, Any] = {"__name__": "theirs"}
    exec(compile(block, "Features", "exec"), space)
    handler = space["Features"]()
    handler.device, handler.context, handler.initialized = torch.device("cpu"), make_context(Path(".")), True
    handler.model = lambda rows: torch.stack([rows[:, :2].sum(1), rows[:, 2:].sum(1)], dim=1)
    return envelope(handler.handle)


def ask(call: Call) -> Any:
    """What the wrapper reads of its answer to a call."""
    context = make_context(Path("."))
    context.request_processor, context.request_ids = [RequestProcessor({})], {0: "a request"}
    context.metrics = type("Metrics", (), {"add_time": lambda *_: None})()
    item = {"body": orjson.loads(encode_call(call, STOCK).body)}
    envelope = KSERVE if isinstance(call, V1Call) else KSERVE_V2
    (answer,) = served(envelope).handle([item], context)
    return decode_reply(call, {}, orjson.dumps(answer))


def row(*numbers: float) -> Tensor:
    tensor = torch.tensor(numbers, dtype=torch.float32).numpy()
    return Tensor("x", "FP32", tensor.shape, tensor.tobytes())


def test_the_handler_of_the_page_answers_both_protocols() -> None:
    rows = [[1, 2, 3, 4], [4, 3, 2, 1]]
    assert ask(V1Call("m", None, False, [{"data": one} for one in rows])).results == [1, 0]
    reply = ask(V2Call("m", None, False, [row(*one) for one in rows]))
    assert isinstance(reply, V2Reply)
    assert [values_of(one.datatype, one.data).tolist() for one in reply.outputs] == [[1], [0]]


@pytest.mark.parametrize("instance", [{"data": [1, 2, 3]}, {"features": [1, 2, 3, 4]}, {"data": {"b64": "AAAA"}}])
def test_a_clients_mistake_reaches_it_as_the_handler_tells_it(instance: Any) -> None:
    handler = served(KSERVE)
    body: List[Tuple[str, Any]] = [("body", {"instances": [{"data": [1, 2, 3, 4]}, instance]})]
    service = Service("m", ".", {"model": {"modelName": "m"}}, handler.handle, None, 1)
    service._context.metrics = type("Metrics", (), {"add_time": lambda *_: None, "request_ids": None})()
    service.cl_socket = None
    sent = [{"requestId": b"1", "parameters": [{"name": n, "contentType": None, "value": v} for n, v in body]}]
    answer = bytes(service.predict(sent))
    assert b"row 1: four numbers are wanted" in answer
    assert (400).to_bytes(4, "big") in answer
