"""Where the gRPC messages come from."""

from __future__ import annotations

import sys
from pathlib import Path

import pytest

from kserve_wrapper.rpc import messages


@pytest.fixture
def elsewhere(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """An environment whose only place for packages is an empty directory."""
    monkeypatch.setattr(sys, "path", [str(tmp_path)])
    for name in [
        name for name in sys.modules if name.split(".")[0] in ("kserve", "tritonclient", "grpc_predict_v2_pb2")
    ]:
        monkeypatch.delitem(sys.modules, name)
    return tmp_path


def test_tritonclients_come_first() -> None:
    pytest.importorskip("tritonclient.grpc", reason="needs a newer protobuf", exc_type=ImportError)
    assert messages.load_messages().__name__ == "tritonclient.grpc.service_pb2"


def test_kserves_are_loaded_without_kserve(elsewhere: Path) -> None:
    file = elsewhere / "kserve" / "protocol" / "grpc" / "grpc_predict_v2_pb2.py"
    file.parent.mkdir(parents=True)
    (elsewhere / "kserve" / "__init__.py").write_text("raise AssertionError('kserve was imported')")
    file.write_text("ModelInferRequest = 'here'")
    try:
        assert messages.load_messages().ModelInferRequest == "here"
        assert messages.load_messages() is sys.modules["grpc_predict_v2_pb2"]
    finally:
        sys.modules.pop("grpc_predict_v2_pb2", None)


def test_without_either_it_is_said_what_to_install(elsewhere: Path) -> None:
    with pytest.raises(messages.NoMessages, match="tritonclient"):
        messages.load_messages()
