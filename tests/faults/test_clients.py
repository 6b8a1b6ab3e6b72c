"""Promises 2 and 8: clients that vanish, dawdle, sit idle, come in crowds or send much; and what the wrapper runs
out of. Others are unharmed."""

from __future__ import annotations

import asyncio
import contextlib
import json
import resource
import socket
import struct
import time
from typing import Iterator

from tests.faults.figures import pick, record
from tests.faults.kinds import FAULTY, Rows, digits, echoes
from tests.faults.load import Question, Tally, run_load
from tests.faults.pod import Pod, descriptors, resident, until
from tests.faults.under_load import course_of, in_thread

RST = struct.pack("ii", 1, 0)


def head(length: int) -> bytes:
    return f"POST {FAULTY} HTTP/1.1\r\nHost: x\r\nContent-Length: {length}\r\n\r\n".encode()


def connect(pod: Pod) -> socket.socket:
    return socket.create_connection(("127.0.0.1", pod.http_port), timeout=20)


def cut(connection: socket.socket) -> None:
    """Ends it as a crash does: with a reset."""
    connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, RST)
    connection.close()


def test_connections_dropped_in_mid_request_and_mid_answer(shared_pod: Pod) -> None:
    body = json.dumps({"instances": ["sleep:0.05:x"]}).encode()
    before = descriptors(shared_pod.wrapper)

    def drop() -> None:
        for number in range(60):
            connection = connect(shared_pod)
            connection.sendall(head(len(body)) + (body[:-3] if number % 3 == 0 else body))
            if number % 3 == 2:
                connection.close()
            else:
                cut(connection)

    async def harm() -> None:
        await in_thread(drop)

    course = course_of(shared_pod, harm, turns=False, answered=100)
    record(2, "60 connections dropped in mid-request and mid-answer", course.figures())
    course.check()
    until(lambda: descriptors(shared_pod.wrapper) <= before + 4, "the connections are closed")


def test_wrapper_out_of_file_descriptors(shared_pod: Pod) -> None:
    """New connections wait or are refused; those that are there go on; afterwards all is as before."""
    wrapper = shared_pod.wrapper

    async def harm() -> None:
        await in_thread(_exhaust, shared_pod, wrapper)

    course = course_of(shared_pod, harm, echoes, turns=False)
    record(2, "the wrapper out of file descriptors for 2 s", course.figures())
    course.check()
    assert shared_pod.ready()


def _exhaust(pod: Pod, wrapper: int) -> None:
    limits = resource.prlimit(wrapper, resource.RLIMIT_NOFILE)
    resource.prlimit(wrapper, resource.RLIMIT_NOFILE, (descriptors(wrapper) + 3, limits[1]))
    opened = []
    try:
        for _ in range(20):
            with contextlib.suppress(OSError):
                opened.append(connect(pod))
        time.sleep(2)
    finally:
        for connection in opened:
            connection.close()
        resource.prlimit(wrapper, resource.RLIMIT_NOFILE, limits)


def test_log_disk_full(shared_pod: Pod) -> None:
    """No process can write one byte more to its log; the requests are served all the same."""
    processes = [
        *(shared_pod.supervisor.pid, shared_pod.wrapper, shared_pod.torchserve),
        *shared_pod.workers("faulty"),
        *shared_pod.workers("mnist"),
    ]
    limits = {pid: resource.prlimit(pid, resource.RLIMIT_FSIZE) for pid in processes}
    size = shared_pod.log.stat().st_size

    async def harm() -> None:
        for pid in processes:
            resource.prlimit(pid, resource.RLIMIT_FSIZE, (size, limits[pid][1]))
        await asyncio.sleep(2)

    try:
        course = course_of(shared_pod, harm, turns=False, answered=200)
        poisoned = asyncio.run(run_load(shared_pod.http_port, _raising, 4, 40))
    finally:
        for pid in processes:
            resource.prlimit(pid, resource.RLIMIT_FSIZE, limits[pid])
    record(2, "the disk of the log full", course.figures())
    course.check()
    assert poisoned.outcomes["right"] == 40, poisoned.faults[:5]
    assert shared_pod.ready()


def _raising(number: int) -> Iterator[Question]:
    """Requests that make every process log."""
    while True:
        yield Rows("raise", ["raise:x"], 500)


def test_idle_connections(shared_pod: Pod) -> None:
    """Many clients that keep a connection and say nothing cost their descriptor, nothing else."""
    count = pick(500, 2000)
    _, most = resource.getrlimit(resource.RLIMIT_NOFILE)
    own = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (most, most))
    before = resident(shared_pod.wrapper)
    idle = [connect(shared_pod) for _ in range(count)]
    try:
        until(lambda: descriptors(shared_pod.wrapper) >= count, "all are accepted")
        grown = resident(shared_pod.wrapper) - before
        tally = asyncio.run(run_load(shared_pod.http_port, digits, 8, 200))
    finally:
        for connection in idle:
            connection.close()
        resource.setrlimit(resource.RLIMIT_NOFILE, own)
    record(8, f"{count} idle connections", {"memory_mb": round(grown / 2**20, 1), **tally.figures()})
    assert tally.outcomes["right"] == 200, tally.faults[:5]
    assert grown < 100 * 2**20
    until(lambda: descriptors(shared_pod.wrapper) < count // 2, "they are closed")


def test_many_clients_with_large_bodies(shared_pod: Pod) -> None:
    """1 MB each, all at once: served, or refused with a cause; memory bounded."""
    clients = pick(64, 256)
    most = [0]

    async def load() -> Tally:
        watcher = asyncio.ensure_future(_highest(shared_pod.wrapper, most))
        try:
            return await run_load(shared_pod.http_port, _large, clients, clients * 2, limit=120)
        finally:
            watcher.cancel()

    tally = asyncio.run(load())
    record(8, f"{clients} clients with bodies of 1 MB", {"wrapper_mb": most[0] // 2**20, **tally.figures()})
    assert not tally.faults, tally.faults[:5]
    assert tally.outcomes["right"] > 0
    assert most[0] < 2 * 2**30
    after = asyncio.run(run_load(shared_pod.http_port, digits, 4, 40))
    assert after.outcomes["right"] == 40


async def _highest(pid: int, most: list[int]) -> None:
    while True:
        most[0] = max(most[0], resident(pid))
        await asyncio.sleep(0.02)


def _large(number: int) -> Iterator[Question]:
    for turn in range(1000):
        yield Rows("1 MB", [f"echo:{number}:{turn}:" + "x" * 2**20])


def test_senders_of_one_byte_at_a_time(shared_pod: Pod) -> None:
    """They get their answer if they are done in time, and others get theirs meanwhile."""
    count, body = pick(20, 100), json.dumps({"instances": ["echo:slow"]}).encode()

    async def one() -> bytes:
        reader, writer = await asyncio.open_connection("127.0.0.1", shared_pod.http_port)
        for byte in head(len(body)) + body:
            writer.write(bytes([byte]))
            await asyncio.sleep(0.01)
        answer = await asyncio.wait_for(reader.readuntil(b"\r\n\r\n"), 30)
        writer.close()
        return answer

    async def load() -> tuple[list[bytes], Tally]:
        senders = asyncio.gather(*[one() for _ in range(count)])
        tally = await run_load(shared_pod.http_port, digits, 8, 200)
        return await senders, tally

    answers, tally = asyncio.run(load())
    record(8, f"{count} senders of one byte at a time", tally.figures())
    assert tally.outcomes["right"] == 200, tally.faults[:5]
    assert all(answer.startswith(b"HTTP/1.1 200") for answer in answers)
