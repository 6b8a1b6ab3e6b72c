"""The management client on real sockets."""

from __future__ import annotations

import asyncio
import json
from pathlib import Path
from typing import Any, Dict, Type

import pytest

from kserve_wrapper.core.errors import (
    BadGateway,
    DeadlineExceeded,
    InvalidRequest,
    MethodNotAllowed,
    NotFound,
    Unavailable,
    WrapperError,
)
from kserve_wrapper.core.sockets import free_port
from kserve_wrapper.torchserve.management import Management
from kserve_wrapper.torchserve.tokens import KeyFile
from kserve_wrapper.upstream.address import Address
from tests.unit.kserve_wrapper.torchserve.management_server import listening, serving, version, worker


def test_models_and_their_workers() -> None:
    async def scenario() -> None:
        described = [version("2.0", worker(0), worker(1, "UNLOADING")), version("1.0", minimum=0)]
        async with serving(models={"m": described, "n": [version("1")]}) as (_, management):
            assert await management.models() == ["m", "n"]
            both = await management.describe("m", "all")
            assert [(d.version, d.ready, d.workers, d.min_workers) for d in both] == [
                ("2.0", (("9000", 100),), 2, 1),
                ("1.0", (), 0, 0),
            ]
            assert [d.version for d in await management.describe("m")] == ["2.0"]
            with pytest.raises(NotFound):
                await management.describe("m", "3.0")

    asyncio.run(scenario())


@pytest.mark.parametrize(
    ("told", "expected"),
    [
        ({"batchSize": 4, "jobQueueStatus": {"remainingCapacity": 7, "pendingRequests": 3}}, (4, 10)),
        ({"batchSize": 1, "jobQueueStatus": {"remainingCapacity": 0, "pendingRequests": 0}}, (1, 0)),
        ({"batchSize": "4", "jobQueueStatus": {"remainingCapacity": 7}}, (None, None)),
        ({"batchSize": True, "jobQueueStatus": [7, 3]}, (None, None)),
        ({}, (None, None)),
    ],
)
def test_what_torchserve_takes_at_a_time(told: Dict[str, Any], expected: Any) -> None:
    async def scenario() -> None:
        async with serving(models={"m": [{**version("1", worker(0)), **told}]}) as (_, management):
            [described] = await management.describe("m")
            assert (described.batch_size, described.queue_capacity) == expected

    asyncio.run(scenario())


@pytest.mark.parametrize(
    ("told", "expected"),
    [
        ({"a": 1}, {"a": 1}),
        ('{\n  "a": 1\n}', {"a": 1}),
        ([{"a": 1}], {"a": 1}),
        ("nothing", None),
        ({}, None),
        (7, None),
    ],
)
def test_customized_metadata_of_all_torchserves(told: Any, expected: Any) -> None:
    async def scenario() -> None:
        async with serving(models={"m": [version("1", worker(0))]}, customized={"m": told}) as (_, management):
            [described] = await management.describe("m", "1", customized=True)
            assert described.customized == expected

    asyncio.run(scenario())


@pytest.mark.parametrize(
    ("status", "error"),
    [
        (400, InvalidRequest),
        (403, InvalidRequest),
        (404, NotFound),
        (405, MethodNotAllowed),
        (409, InvalidRequest),
        (500, BadGateway),
        (503, Unavailable),
        (507, BadGateway),
    ],
)
def test_refusals_tell_nothing_of_the_inside(status: int, error: Type[WrapperError]) -> None:
    async def scenario() -> None:
        body = json.dumps({"code": status, "type": "SomeException", "message": "/home/secret/path"}).encode()
        async with serving(instead={"/models": (status, body)}) as (_, management):
            with pytest.raises(error) as caught:
                await management.register("m.mar", initial_workers=1)
            assert type(caught.value) is error
            assert "secret" not in caught.value.message
            assert "SomeException" not in caught.value.message

    asyncio.run(scenario())


@pytest.mark.parametrize("body", [b"", b"[", b"{}", b"[1]", b'{"models": 7}', b"\xff" * 9])
def test_an_answer_that_is_none(body: bytes) -> None:
    async def scenario() -> None:
        async with serving(instead={"/models": (200, body)}) as (_, management):
            with pytest.raises(BadGateway):
                await management.models()

    asyncio.run(scenario())


def test_names_cannot_leave_their_place_in_the_url() -> None:
    async def scenario() -> None:
        async with serving() as (server, management):
            for name in ("../x", "a/b", "a b", "a?b=1", "a\r\nX: y", "é", "a#b"):
                with pytest.raises(NotFound):
                    await management.describe(name, "1/..")
            for asked in server.asked:
                method, path = asked.split(" ")
                assert method == "GET"
                assert path.startswith("/models/")
                # By version first; what is not found so may be TorchServe's shared address, and is asked for without.
                assert (path.count("/"), path.endswith("/1%2F..")) in [(3, True), (2, False)]

    asyncio.run(scenario())


def test_a_name_that_torchserve_would_take_for_its_token_api() -> None:
    async def scenario() -> None:
        async with serving(models={"tokenizer": [version("1")]}) as (server, management):
            await management.describe("tokenizer")
            assert server.asked == ["GET /models/%74okenizer"]

    asyncio.run(scenario())


def test_silence_is_bounded() -> None:
    async def scenario() -> None:
        async with serving(hung=asyncio.Event()) as (_, management):
            with pytest.raises(DeadlineExceeded):
                await management.describe("m", timeout=0.05)

    asyncio.run(scenario())


def test_nothing_listens_there() -> None:
    management = Management(Address("http", "127.0.0.1", free_port(), "127.0.0.1"), KeyFile(None))
    with pytest.raises(Unavailable, match="cannot be reached"):
        asyncio.run(management.models())


def test_not_http_and_hanging_up() -> None:
    async def scenario(answer: bytes) -> None:
        async def reply(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
            await reader.readuntil(b"\r\n\r\n")
            writer.write(answer)

        async with listening(reply) as port:
            await Management(Address("http", "127.0.0.1", port, "127.0.0.1"), KeyFile(None)).models()

    with pytest.raises(BadGateway):
        asyncio.run(scenario(b"SSH-2.0-hello\r\n\r\n"))
    with pytest.raises(Unavailable, match="closed the connection"):
        asyncio.run(scenario(b"HTTP/1.1 200 OK\r\nContent-Length: 9\r\n\r\n{"))


def test_a_key_that_was_replaced_is_read_anew(tmp_path: Path) -> None:
    path = tmp_path / "key_file.json"

    def write(key: str) -> None:
        path.write_text(json.dumps({"management": {"key": key, "expiration time": "2126-01-01T00:00:00Z"}}))

    async def scenario() -> None:
        seen = []

        async def reply(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
            head = (await reader.readuntil(b"\r\n\r\n")).decode()
            seen.append(head.split("Bearer ")[1].split("\r")[0])
            body: Dict[str, Any] = {"models": []}
            if seen[-1] != "new":
                body = {"code": 400, "type": "InvalidKeyException", "message": "no"}
                write("new")
            raw = json.dumps(body).encode()
            writer.write(b"HTTP/1.1 %d X\r\nContent-Length: %d\r\n\r\n" % (body.get("code", 200), len(raw)) + raw)

        write("old-one")
        async with listening(reply) as port:
            management = Management(Address("http", "127.0.0.1", port, "127.0.0.1"), KeyFile(path))
            assert await management.models() == []
        assert seen == ["old-one", "new"]

    asyncio.run(scenario())
