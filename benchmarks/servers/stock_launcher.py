"""Runs the stock KServe wrapper, unchanged, from a checkout of pytorch/serve, on ports of the benchmark's choosing.

Runs inside the stock environment. Usage: stock_launcher.py CHECKOUT HTTP-PORT GRPC-PORT. The wrapper's gRPC stubs are
generated into a temporary directory, as its Dockerfile does at build time; the wrapper's ports are written in its
source, so the server class that it calls gets the others here.
"""

from __future__ import annotations

import functools
import runpy
import sys
import tempfile
import types
from pathlib import Path


def generate_stubs(protos: Path, out: Path) -> None:
    """inference_pb2 and its gRPC stub from TorchServe's inference.proto (its google/rpc import included)."""
    import google.rpc
    from grpc_tools import protoc

    well_known = Path(protoc.__file__).parent / "_proto"
    # googleapis-common-protos lies under google/rpc; its folder's parent's parent is the import root.
    common = Path(next(iter(google.rpc.__path__))).parents[1]
    arguments = ["", f"-I{protos}", f"-I{well_known}", f"-I{common}", f"--python_out={out}"]
    if protoc.main([*arguments, f"--grpc_python_out={out}", "inference.proto"]):
        raise SystemExit("protoc failed on inference.proto")


def allow_local_storage_only() -> None:
    """Where the clouds' client libraries are not installed: the model store is a local directory all the same."""
    try:
        import kserve.storage  # noqa: F401
    except ModuleNotFoundError:
        module = types.ModuleType("kserve.storage")
        module.Storage = types.SimpleNamespace(download=lambda directory: directory)  # type: ignore[attr-defined]
        sys.modules["kserve.storage"] = module


def main() -> None:
    checkout, http_port, grpc_port = Path(sys.argv[1]), int(sys.argv[2]), int(sys.argv[3])
    stubs = Path(tempfile.mkdtemp(prefix="stubs-"))
    generate_stubs(checkout / "frontend" / "server" / "src" / "main" / "resources" / "proto", stubs)
    wrapper = checkout / "kubernetes" / "kserve" / "kserve_wrapper"
    sys.path[:0] = [str(wrapper), str(stubs)]
    sys.argv = ["kserve_wrapper"]
    allow_local_storage_only()
    import kserve.model_server as module

    start = module.ModelServer.__init__

    @functools.wraps(start)
    def on_our_ports(self: object, **given: object) -> None:
        start(self, **{**given, "http_port": http_port, "grpc_port": grpc_port})

    module.ModelServer.__init__ = on_our_ports
    runpy.run_path(str(wrapper / "__main__.py"), run_name="__main__")


if __name__ == "__main__":
    main()
