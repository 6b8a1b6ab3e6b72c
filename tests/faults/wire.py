"""A small HTTP/1.1 client for many connections in one process; it retries nothing and hides nothing."""

from __future__ import annotations

import asyncio
from typing import Mapping, Optional

Answer = tuple[int, bytes, dict[str, str]]


class Lost(Exception):
    """The connection ended after the request was sent and before its answer was whole."""


class Refused(Exception):
    """No connection could be made: the request was never sent."""


class HttpClient:
    """One client on one connection, which it keeps while the server does."""

    def __init__(self, host: str, port: int) -> None:
        self._host, self._port = host, port
        self._reader: Optional[asyncio.StreamReader] = None
        self._writer: Optional[asyncio.StreamWriter] = None

    async def send(self, method: str, path: str, body: bytes, headers: Mapping[str, str]) -> Answer:
        """Status, body and headers (names in lower case). Raises Lost, Refused."""
        reader, writer = await self._connected()
        lines = [f"{method} {path} HTTP/1.1", f"Host: {self._host}", f"Content-Length: {len(body)}"]
        lines += [f"{name}: {value}" for name, value in headers.items()]
        try:
            writer.write("\r\n".join([*lines, "\r\n"]).encode("latin-1") + body)
            await writer.drain()
            return await self._read(reader)
        except (OSError, asyncio.IncompleteReadError) as error:
            self.close()
            raise Lost(repr(error)) from error

    async def _connected(self) -> tuple[asyncio.StreamReader, asyncio.StreamWriter]:
        if self._reader is None or self._writer is None or self._reader.at_eof() or self._writer.is_closing():
            self.close()
            try:
                self._reader, self._writer = await asyncio.open_connection(self._host, self._port, limit=2**20)
            except OSError as error:
                raise Refused(str(error)) from error
        return self._reader, self._writer

    async def _read(self, reader: asyncio.StreamReader) -> Answer:
        first, *lines = (await reader.readuntil(b"\r\n\r\n")).decode("latin-1").split("\r\n")[:-2]
        headers = {name.lower(): value.strip() for name, _, value in (line.partition(":") for line in lines)}
        body = await reader.readexactly(int(headers["content-length"]))
        if headers.get("connection", "").lower() == "close":
            self.close()
        return int(first.split(" ")[1]), body, headers

    def close(self) -> None:
        if self._writer is not None:
            self._writer.close()
        self._reader = self._writer = None
