"""The model store: what a load registers, in which order an unload removes, and names that lead elsewhere."""

from __future__ import annotations

import asyncio
import dataclasses
from pathlib import Path
from typing import Any, Dict, List, Optional, Set, Tuple

import pytest

from kserve_wrapper.core.errors import Forbidden, InvalidRequest, MethodNotAllowed, NotFound
from kserve_wrapper.torchserve.config import TorchServeConfig, load
from kserve_wrapper.torchserve.repository import ModelStore
from kserve_wrapper.torchserve.snapshot import SnapshotModel


class TorchServe:
    """Registers and unregisters at once; both faces of it that the store sees."""

    def __init__(self, off: bool = False) -> None:
        self.served: Dict[str, List[str]] = {}
        self.asked: List[Tuple[Any, ...]] = []
        self.off = off
        self.failing: Set[str] = set()

    async def register(self, url: str, timeout: float = 300.0, **parameters: Any) -> None:
        if self.off:
            raise MethodNotAllowed("model control is off")
        self.asked.append((url, parameters))
        self.served.setdefault(parameters["model_name"], []).append(f"{len(self.asked)}.0")

    async def unregister(self, name: str, version: Optional[str] = None, timeout: float = 120.0) -> None:
        self.asked.append((name, version))
        self.served[name].remove(str(version))
        if not self.served[name]:
            del self.served[name]

    def models(self) -> List[str]:
        return sorted(self.served)

    def versions(self, name: str) -> List[str]:
        if name not in self.served:
            raise NotFound("not served")
        return self.served[name]

    def default_version(self, name: str) -> Optional[str]:
        return self.versions(name)[0]

    def model_ready(self, name: str, version: Optional[str] = None) -> bool:
        return name not in self.failing and version in (None, *self.versions(name))

    def reason(self, name: str, version: Optional[str] = None) -> str:
        return "its worker keeps failing to load"

    def archives(self) -> Set[str]:
        return {str(asked[0]) for asked in self.asked}


@pytest.fixture
def config(tmp_path: Path) -> TorchServeConfig:
    """A store with ``mnist.mar`` and ``old.mar``; a file beside it."""
    store = tmp_path / "store"
    store.mkdir()
    for name in ("mnist.mar", "old.mar", ".hidden.mar", "notes.txt"):
        (store / name).write_bytes(b"")
    (tmp_path / "outside.mar").write_bytes(b"")
    properties = tmp_path / "config.properties"
    properties.write_text(f"model_store={store}\n")
    return load(properties, {})


def test_load_registers_the_archive_of_that_name(config: TorchServeConfig) -> None:
    torchserve = TorchServe()
    store = ModelStore(torchserve, torchserve, config)
    asyncio.run(store.load("mnist"))
    asyncio.run(store.load("mnist"))
    assert torchserve.asked == [("mnist.mar", {"model_name": "mnist", "initial_workers": 1, "synchronous": True})]


def test_a_name_may_be_of_any_script(config: TorchServeConfig) -> None:
    assert config.model_store is not None
    (config.model_store / "größe-数字.mar").write_bytes(b"")
    torchserve = TorchServe()
    asyncio.run(ModelStore(torchserve, torchserve, config).load("größe-数字"))
    assert torchserve.asked[0][0] == "größe-数字.mar"


def test_load_keeps_to_the_snapshot(config: TorchServeConfig) -> None:
    model = SnapshotModel("old.mar", True, 2, 2, 4, 50, 60)
    torchserve = TorchServe()
    store = ModelStore(torchserve, torchserve, dataclasses.replace(config, models={"digits": {"1.0": model}}))
    asyncio.run(store.load("digits"))
    [(url, parameters)] = torchserve.asked
    assert url == "old.mar"
    assert (parameters["initial_workers"], parameters["batch_size"], parameters["response_timeout"]) == (2, 4, 60)


@pytest.mark.parametrize(
    "name",
    [
        "../outside",
        "..",
        ".hidden",
        "a/b",
        "/etc/x",
        "",
        "a b",
        "http:x",
        "x\n",
        "%2e",
        "a" * 200,
        "-a",
        "ä/../b",
        "a\u0000",
    ],
)
@pytest.mark.parametrize("verb", ["load", "unload"])
def test_a_name_that_leaves_the_store(config: TorchServeConfig, verb: str, name: str) -> None:
    torchserve = TorchServe()
    with pytest.raises(InvalidRequest):
        asyncio.run(getattr(ModelStore(torchserve, torchserve, config), verb)(name))
    assert not torchserve.asked


@pytest.mark.parametrize(
    ("parameter", "mend"), [("config", "settings"), ("file:1/model.pt", "model store"), ("other", "leave it out")]
)
def test_a_load_takes_no_parameters(config: TorchServeConfig, parameter: str, mend: str) -> None:
    torchserve = TorchServe()
    with pytest.raises(InvalidRequest, match=mend) as caught:
        asyncio.run(ModelStore(torchserve, torchserve, config).load("mnist", [parameter]))
    assert parameter in caught.value.message
    assert not torchserve.asked


@pytest.mark.parametrize("verb", ["load", "unload"])
def test_an_unknown_model(config: TorchServeConfig, verb: str) -> None:
    torchserve = TorchServe()
    with pytest.raises(NotFound):
        asyncio.run(getattr(ModelStore(torchserve, torchserve, config), verb)("nobody"))
    assert not torchserve.asked


def test_unload_removes_the_default_version_last(config: TorchServeConfig) -> None:
    torchserve = TorchServe()
    torchserve.served["mnist"] = ["1.0", "2.0", "3.0"]
    asyncio.run(ModelStore(torchserve, torchserve, config).unload("mnist"))
    assert torchserve.asked == [("mnist", "2.0"), ("mnist", "3.0"), ("mnist", "1.0")]


def test_model_control_may_be_off(config: TorchServeConfig) -> None:
    torchserve = TorchServe(off=True)
    with pytest.raises(Forbidden, match="model control"):
        asyncio.run(ModelStore(torchserve, torchserve, config).load("mnist"))


def test_the_index_has_what_is_served_and_what_is_not(config: TorchServeConfig) -> None:
    torchserve = TorchServe()
    torchserve.served["mnist"] = ["1.0", "2.0"]
    entries = asyncio.run(ModelStore(torchserve, torchserve, config).index())
    assert [(e["name"], e["version"], e["state"]) for e in entries] == [
        ("mnist", "1.0", "READY"),
        ("mnist", "2.0", "READY"),
        ("old", "", "UNAVAILABLE"),
    ]


def test_the_index_says_why_a_model_is_not_ready(config: TorchServeConfig) -> None:
    torchserve = TorchServe()
    torchserve.served["mnist"] = ["1.0"]
    torchserve.failing = {"mnist"}
    first = asyncio.run(ModelStore(torchserve, torchserve, config).index())[0]
    assert (first["state"], first["reason"]) == ("UNAVAILABLE", "its worker keeps failing to load")


def test_an_archive_with_another_name_than_its_model_is_no_model_of_its_own(config: TorchServeConfig) -> None:
    snapshot = {"digits": {"1.0": SnapshotModel("old.mar", True, 1, 1, 1, 10, 60)}}
    torchserve = TorchServe()
    asyncio.run(torchserve.register("mnist.mar", model_name="other"))
    entries = asyncio.run(ModelStore(torchserve, torchserve, dataclasses.replace(config, models=snapshot)).index())
    assert [(entry["name"], entry["state"], entry["reason"]) for entry in entries] == [
        ("other", "READY", ""),
        ("digits", "UNAVAILABLE", "unloaded"),
    ]
