"""A rolling update whose endpoint controller is late: no request is lost, over kept HTTP connections and over gRPC."""

from __future__ import annotations

import asyncio
import contextlib
import json
import os
import signal
import time
import urllib.error
import urllib.request
from contextlib import ExitStack
from functools import partial
from pathlib import Path
from typing import Callable, Dict, List, Tuple, Union

import grpc
import numpy as np

from kserve_wrapper.core.sockets import free_port
from kserve_wrapper.rpc.messages import load_messages
from scripts.serving import supervised, tail
from tests.samples import images
from tests.serving.mixed import encoded

#: Clients of each kind, and seconds that each rests between two requests.
CLIENTS, REST = 32, 0.2
#: Seconds that the old server goes on after SIGTERM, and after which the proxy sends new connections elsewhere.
DELAY, LATE = 8.0, 5.0
PORTS = ("http", "grpc")


class Proxy:
    """Two TCP ports that lead to one server at a time; connections stay where they were made to, as kube-proxy's do."""

    def __init__(self, target: Dict[str, int]) -> None:
        self.target = target
        self.port: Dict[str, int] = {}
        self.connections = dict.fromkeys(PORTS, 0)
        self._servers: List[asyncio.AbstractServer] = []
        self._joined: List[asyncio.Task[None]] = []

    async def start(self) -> None:
        for name in PORTS:
            server = await asyncio.start_server(partial(self._accept, name), "127.0.0.1", 0)
            self.port[name] = server.sockets[0].getsockname()[1]
            self._servers.append(server)

    async def close(self) -> None:
        for server in self._servers:
            server.close()
        for task in self._joined:
            task.cancel()
        await asyncio.gather(*self._joined, return_exceptions=True)

    def _accept(self, name: str, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.connections[name] += 1
        self._joined.append(asyncio.ensure_future(self._join(name, reader, writer)))

    async def _join(self, name: str, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            far_reader, far_writer = await asyncio.open_connection("127.0.0.1", self.target[name])
            try:
                await asyncio.gather(_pump(reader, far_writer), _pump(far_reader, writer))
            finally:
                await close(far_writer)
        except OSError:
            return
        finally:
            await close(writer)


async def _pump(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    while data := await reader.read(65536):
        writer.write(data)
        await writer.drain()
    # The other direction may go on; this one is at its end.
    writer.write_eof()


async def close(writer: asyncio.StreamWriter) -> None:
    writer.close()
    with contextlib.suppress(OSError):
        await writer.wait_closed()


class HttpClient:
    """Keeps its connection until it is told to close it, and never sends a request twice."""

    kind = "http"

    def __init__(self, proxy: Proxy, number: int) -> None:
        self._proxy = proxy
        self._body = json.dumps({"instances": [{"data": encoded(number)}]}).encode()
        self._streams: List[Tuple[asyncio.StreamReader, asyncio.StreamWriter]] = []

    async def request(self) -> None:
        if not self._streams:
            self._streams = [await asyncio.open_connection("127.0.0.1", self._proxy.port["http"])]
        reader, writer = self._streams[0]
        head = b"POST /v1/models/mnist:predict HTTP/1.1\r\nHost: x\r\nContent-Length: %d\r\n\r\n" % len(self._body)
        writer.write(head + self._body)
        lines = (await reader.readuntil(b"\r\n\r\n")).lower()
        length = int(lines.split(b"content-length:")[1].split(b"\r\n")[0])
        answer = await reader.readexactly(length)
        if b"connection: close" in lines:
            await self.close()
        assert lines.startswith(b"http/1.1 200 "), lines + answer
        assert len(json.loads(answer)["predictions"]) == 1

    async def close(self) -> None:
        for _, writer in self._streams:
            await close(writer)
        self._streams.clear()


class GrpcClient:
    """One channel with a connection of its own; retries by policy are off."""

    kind = "grpc"

    def __init__(self, proxy: Proxy, number: int) -> None:
        options = [("grpc.use_local_subchannel_pool", 1), ("grpc.enable_retries", 0)]
        messages = load_messages()
        self._request = messages.ModelInferRequest(model_name="mnist")
        tensor = self._request.inputs.add(name="input-0", datatype="FP32", shape=[1, 1, 28, 28])
        tensor.contents.fp32_contents.extend((images()[number : number + 1] / 255).astype(np.float32).ravel().tolist())
        self._channel = grpc.aio.insecure_channel(f"127.0.0.1:{proxy.port['grpc']}", options)
        self._infer = self._channel.unary_unary(
            "/inference.GRPCInferenceService/ModelInfer",
            messages.ModelInferRequest.SerializeToString,
            messages.ModelInferResponse.FromString,
        )

    async def request(self) -> None:
        reply = await self._infer(self._request, timeout=60)
        assert list(reply.outputs[0].shape) == [1]

    async def close(self) -> None:
        await self._channel.close()


class Load:
    """Clients that ask on and on."""

    def __init__(self) -> None:
        self.answered = {"http": 0, "grpc": 0}
        self.failures: List[str] = []
        self.over = False

    async def run(self, kind: str, client: Union[HttpClient, GrpcClient]) -> None:
        while not self.over:
            try:
                await client.request()
                self.answered[kind] += 1
            except Exception as error:
                self.failures.append(f"{kind}: {error!r}")
                return
            await asyncio.sleep(REST)


def status(port: int) -> int:
    """Of the server's readiness; 0 where it does not answer."""
    try:
        with urllib.request.urlopen(f"http://127.0.0.1:{port}/v2/health/ready", timeout=5) as response:
            return int(response.status)
    except urllib.error.HTTPError as error:
        with error:
            return error.code
    except OSError:
        return 0


def test_a_rollout_loses_no_request(store: Path, tmp_path: Path) -> None:
    ports = [{name: free_port() for name in PORTS} for _ in range(2)]
    logs = [tmp_path / "old.log", tmp_path / "new.log"]
    with ExitStack() as stack:

        def start(number: int) -> int:
            environ = {"TS_KSERVE_DRAIN_DELAY": f"{DELAY:g}"}
            served = supervised(store, logs[number], *ports[number].values(), environ=environ)
            return stack.enter_context(served).pid

        old = start(0)
        load = asyncio.run(roll_out(ports, old, lambda: start(1)))
    assert load.failures == [], "\n".join([*load.failures[:5], tail(logs[0])])
    assert min(load.answered.values()) > 2 * CLIENTS
    assert "supervisor: stopped\n" in logs[0].read_text()


async def roll_out(ports: List[Dict[str, int]], old: int, start_new: Callable[[], object]) -> Load:
    """Ends the old server as a rolling update does, the proxy learning of it ``LATE`` seconds later."""
    proxy, load = Proxy(ports[0]), Load()
    await proxy.start()
    clients: List[Union[HttpClient, GrpcClient]] = [HttpClient(proxy, n) for n in range(CLIENTS)]
    clients += [GrpcClient(proxy, n) for n in range(CLIENTS)]
    tasks = [asyncio.ensure_future(load.run(client.kind, client)) for client in clients]
    try:
        await _change(ports, old, start_new, proxy, load)
    finally:
        load.over = True
        await asyncio.gather(*tasks)
        for client in clients:
            await client.close()
        await proxy.close()
    return load


async def _change(
    ports: List[Dict[str, int]], old: int, start_new: Callable[[], object], proxy: Proxy, load: Load
) -> None:
    loop = asyncio.get_running_loop()
    await loop.run_in_executor(None, start_new)
    before, end = dict(load.answered), time.monotonic() + LATE
    os.kill(old, signal.SIGTERM)
    await asyncio.sleep(LATE / 2)
    # The old one is not ready any more, and still serves whoever comes.
    assert await loop.run_in_executor(None, status, ports[0]["http"]) == 503
    assert all(load.answered[kind] > before[kind] for kind in PORTS)
    await asyncio.sleep(end - time.monotonic())
    # Those of gRPC too were asked to be made anew, as none may be left when the server stops.
    assert all(proxy.connections[kind] >= 2 * CLIENTS for kind in PORTS)
    proxy.target, switched = ports[1], dict(load.answered)
    while await loop.run_in_executor(None, status, ports[0]["http"]):
        await asyncio.sleep(0.2)
    await asyncio.sleep(10 * REST)
    assert all(load.answered[kind] > switched[kind] for kind in PORTS)
