"""grpcio's servers as bare as can be: each call waits as long as a batch takes and gets the same bytes.

python -m benchmarks.rpc_servers aio|aio-4|threads PORT: its asyncio server, four of them on one port in one loop, its
synchronous server with 64 threads.
"""

from __future__ import annotations

import asyncio
import concurrent.futures
import contextlib
import sys
import time
from typing import Any

import grpc

from benchmarks.check import expected
from benchmarks.images import pngs
from benchmarks.load.h2load import METHOD

#: What a call waits: about a batch of MNIST at 64 connections.
WAIT_SECONDS = 0.004


def answer() -> bytes:
    """The serialised right answer to the one request that is sent."""
    import numpy as np
    from tritonclient.grpc import service_pb2

    message = service_pb2.ModelInferResponse(model_name="mnist", model_version="1.0", id="bench")
    message.outputs.add(name="predict", datatype="INT64", shape=[1])
    message.raw_output_contents.append(np.array(expected(pngs(1), exact=False), "<i8").tobytes())
    return bytes(message.SerializeToString())


class Calls(grpc.GenericRpcHandler):  # type: ignore[misc]
    """Bytes in, bytes out."""

    def __init__(self, behaviour: Any) -> None:
        self._handler = grpc.unary_unary_rpc_method_handler(behaviour)

    def service(self, details: Any) -> Any:
        return self._handler if details.method == METHOD else None


async def serve_aio(port: int, count: int) -> None:
    """So many of grpcio's asyncio servers on one port, in uvloop where it is installed, until the process ends."""
    given = answer()

    async def call(request: bytes, context: Any) -> bytes:
        await asyncio.sleep(WAIT_SECONDS)
        return given

    servers = [grpc.aio.server(options=[("grpc.so_reuseport", 1)]) for _ in range(count)]
    for server in servers:
        server.add_generic_rpc_handlers((Calls(call),))
        server.add_insecure_port(f"127.0.0.1:{port}")
        await server.start()
    await servers[0].wait_for_termination()


def serve_threads(port: int) -> None:
    """grpcio's synchronous server, a thread a call."""
    given = answer()

    def call(request: bytes, context: Any) -> bytes:
        time.sleep(WAIT_SECONDS)
        return given

    server = grpc.server(concurrent.futures.ThreadPoolExecutor(64), handlers=[Calls(call)])
    server.add_insecure_port(f"127.0.0.1:{port}")
    server.start()
    server.wait_for_termination()


def main() -> None:
    kind, port = sys.argv[1], int(sys.argv[2])
    if kind == "threads":
        serve_threads(port)
        return
    with contextlib.suppress(ImportError):
        import uvloop

        asyncio.set_event_loop_policy(uvloop.EventLoopPolicy())
    asyncio.run(serve_aio(port, 4 if kind == "aio-4" else 1))


if __name__ == "__main__":
    main()
