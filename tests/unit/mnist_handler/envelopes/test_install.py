"""Our envelopes in TorchServe's place: its own loader and its own service, from the wire and back."""

from __future__ import annotations

import importlib
import struct
import sys
from pathlib import Path
from typing import Any, Dict, Iterator, List, NamedTuple, Optional

import pytest
import ts.context
import ts.model_loader
from ts.metrics.metric_cache_yaml_impl import MetricsCacheYamlImpl

from mnist_handler.envelopes import install
from mnist_handler.envelopes.front_door import BatchEnvelope
from mnist_handler.envelopes.install import IncompatibleTorchServe, install_envelopes

NAMES = ("body", "json", "kserve", "kservev2")
SPEAKS = """
from mnist_handler.envelopes.batch import WireEnvelope
from mnist_handler.envelopes.install import install_envelopes
from mnist_handler.requests import Answer

install_envelopes()


class Handler:
    handles_raw_requests = True

    def initialize(self, context):
        pass

    def handle(self, data, context):
        return WireEnvelope(self.answer).handle(data, context)

    def answer(self, requests, context):
        return [Answer({"predict": [str(v) for v in r.inputs[0][1].values]}) for r in requests]
"""
STOCK = """
from mnist_handler.envelopes.install import install_envelopes

install_envelopes()


def handle(data, context):
    return None if data is None else [str(row["data"]) for row in data]
"""


@pytest.fixture(autouse=True)
def _own_modules() -> Iterator[None]:
    """Each test starts with TorchServe's own envelopes; whatever comes after finds what was there before."""
    package = importlib.import_module(install.PACKAGE)
    before = {name: sys.modules.pop(f"{install.PACKAGE}.{name}", None) for name in NAMES}
    for name in NAMES:
        setattr(package, name, importlib.import_module(f"{install.PACKAGE}.{name}"))
    yield
    for name, module in before.items():
        if module is not None:
            sys.modules[f"{install.PACKAGE}.{name}"] = module
            setattr(package, name, module)


def current() -> List[Any]:
    return [sys.modules[f"{install.PACKAGE}.{name}"] for name in NAMES]


class Response(NamedTuple):
    status: int
    body: str


class Reader:
    """Reads what a worker writes to TorchServe's socket."""

    def __init__(self, message: bytes) -> None:
        self.rest = bytes(message)

    def number(self) -> int:
        (value,) = struct.unpack("!i", self.rest[:4])
        self.rest = self.rest[4:]
        return int(value)

    def text(self, length: Optional[int] = None) -> str:
        size = self.number() if length is None else length
        value, self.rest = self.rest[:size], self.rest[size:]
        return value.decode()

    def responses(self) -> Dict[str, Response]:
        assert (self.number(), self.text()) == (200, "Prediction success")
        found = {}
        length = self.number()
        while length != -1:
            name = self.text(length)
            self.text()
            status = self.number()
            self.text()
            for _ in range(self.number()):
                self.text(), self.text()
            found[name] = Response(status, self.text())
            length = self.number()
        return found


def request(idx: int, body: bytes) -> Dict[str, Any]:
    """One client's request as TorchServe's worker reads it from its socket."""
    return {
        "requestId": str(idx).encode(),
        "headers": [{"name": b"explain", "value": b"False"}],
        "parameters": [{"name": "body", "value": bytearray(body), "contentType": "application/json"}],
    }


BATCH = [
    b'{"instances": [{"data": "a"}, {"data": "b"}]}',
    b'{"inputs": [{"name": "x", "shape": [2], "datatype": "BYTES", "data": ["c", "d"]}]}',
    b'{"instances": []}',
    b'{"instances": [{"data": "e"}]}',
]


@pytest.mark.filterwarnings("ignore::ResourceWarning")  # TorchServe's metrics leave their file open
@pytest.mark.parametrize(
    ("source", "envelope"),
    [*((SPEAKS, name) for name in (*NAMES, None)), *((STOCK, name) for name in NAMES)],
    ids=[*(f"handles_raw_requests-{name}" for name in (*NAMES, None)), *(f"stock-{name}" for name in NAMES)],
)
def test_torchserve_answers_a_whole_batch(
    source: str, envelope: Optional[str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "some_handler.py").write_text(source)
    monkeypatch.syspath_prepend(str(tmp_path))
    monkeypatch.delitem(sys.modules, "some_handler", raising=False)
    (tmp_path / "metrics.yaml").write_text(METRICS)
    cache = MetricsCacheYamlImpl(config_file_path=str(tmp_path / "metrics.yaml"))
    cache.initialize_cache()
    service = ts.model_loader.TsModelLoader().load(
        "mnist", str(tmp_path), "some_handler.py", None, 8, envelope, True, cache
    )
    service.set_cl_socket(None)
    found = Reader(service.predict([request(idx, body) for idx, body in enumerate(BATCH)])).responses()
    assert list(found) == ["0", "1", "2", "3"]
    assert [found[str(idx)].status for idx in range(4)] == [200, 200, 400, 200]
    assert found["0"].body == '{"predictions":["a","b"]}'
    assert found["3"].body == '{"predictions":["e"]}'
    assert '"shape":[2],"datatype":"BYTES"' in found["1"].body


METRICS = """
dimensions:
  - &model_name "ModelName"
  - &level "Level"
model_metrics:
  gauge:
    - name: PredictionTime
      unit: ms
      dimensions: [*model_name, *level]
"""


def test_installing_twice_changes_nothing() -> None:
    stock = current()
    assert install_envelopes()
    ours = current()
    assert all(module not in stock for module in ours)
    assert install_envelopes()
    assert current() == ours


@pytest.mark.parametrize(("name", "class_name"), [("kserve", "KServeEnvelope"), ("kservev2", "KServev2Envelope")])
def test_the_loader_and_imports_find_ours(name: str, class_name: str) -> None:
    install_envelopes()
    found = ts.model_loader.TsModelLoader()._load_default_envelope(name)
    assert found is getattr(importlib.import_module(f"{install.PACKAGE}.{name}"), class_name)
    assert found is getattr(getattr(importlib.import_module(install.PACKAGE), name), class_name)
    assert issubclass(found, BatchEnvelope)


def test_nothing_happens_outside_a_worker(monkeypatch: pytest.MonkeyPatch) -> None:
    stock = current()
    monkeypatch.delitem(sys.modules, "ts.model_loader")
    assert not install_envelopes()
    assert current() == stock


def other_loader(self: Any, envelope: str, strict: bool) -> None: ...


def other_method(self: Any, index: int) -> None: ...


def stock_class(self: Any, envelope: str) -> type:
    return dict


@pytest.mark.parametrize(
    ("target", "name", "value", "text"),
    [
        (ts.model_loader, "TsModelLoader", None, "TsModelLoader"),
        (ts.model_loader.TsModelLoader, "_load_default_envelope", other_loader, "strict"),
        (ts.model_loader.TsModelLoader, "_load_default_envelope", stock_class, "dict"),
        (ts.context.Context, "get_all_request_header", other_method, "Context.get_all_request_header"),
        (ts.context.Context, "set_response_status", None, "Context.set_response_status"),
    ],
)
def test_an_unknown_torchserve_is_refused_loudly(
    target: Any, name: str, value: Any, text: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    stock = current()
    monkeypatch.setattr(target, name, value)
    with pytest.raises(IncompatibleTorchServe, match=text):
        install_envelopes()
    assert current() == stock


def test_an_unknown_envelope_is_refused_loudly(monkeypatch: pytest.MonkeyPatch) -> None:
    stock = current()
    monkeypatch.setattr(stock[2].KServeEnvelope.__mro__[1], "handle", other_method)
    with pytest.raises(IncompatibleTorchServe, match="handle"):
        install_envelopes()
    assert current() == stock


def test_a_missing_envelope_is_refused_loudly(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, f"{install.PACKAGE}.kservev2", None)
    with pytest.raises(IncompatibleTorchServe, match="kservev2"):
        install_envelopes()
