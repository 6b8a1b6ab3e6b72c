"""A stand-in for TorchServe's two addresses, for what the real one cannot do on demand: answer after a set time.

Run as a program: prints its port, serves both addresses there until it is killed.
"""

from __future__ import annotations

import asyncio
import json
import re
import sys
from typing import Any, Dict, Tuple

_LENGTH = re.compile(rb"content-length: *([0-9]+)", re.IGNORECASE)


#: Models; ``n`` can be unloaded.
_served = {"m", "n"}


def _describe(name: str) -> Any:
    return [
        {
            "modelName": name,
            "modelVersion": "1.0",
            "minWorkers": 1,
            "workers": [{"id": "9000", "status": "READY", "pid": 4711}],
            "customizedMetadata": {
                "name": name,
                "platform": "pytorch_eager",
                "inputs": [{"name": "x", "datatype": "FP32", "shape": [-1, 2]}],
                "outputs": [{"name": "predict", "datatype": "INT64", "shape": [-1]}],
            },
        }
    ]


async def _answer(method: str, target: str, body: bytes) -> Tuple[int, Any]:
    if target.startswith("/models?"):
        return 200, {"models": [{"modelName": name, "modelUrl": f"{name}.mar"} for name in sorted(_served)]}
    name = target[len("/models/") :][:1]
    if target.startswith("/models/") and name in _served:
        if method == "DELETE":
            _served.discard(name)
        return 200, _describe(name)
    if target in ("/v1/models/m:predict", "/predictions/m"):
        rows = json.loads(body)["instances"]
        await asyncio.sleep(max(row if isinstance(row, (int, float)) else 0 for row in rows))
        return 200, {"predictions": rows}
    return 404, {"code": 404, "type": "ResourceNotFoundException", "message": "no such thing"}


async def _serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    try:
        while True:
            head = await reader.readuntil(b"\r\n\r\n")
            method, target, _ = head.split(b"\r\n", 1)[0].decode().split(" ")
            length = _LENGTH.search(head)
            body = await reader.readexactly(int(length.group(1)) if length else 0)
            status, content = await _answer(method, target, body)
            text = json.dumps(content).encode()
            writer.write(b"HTTP/1.1 %d x\r\ncontent-length: %d\r\n\r\n" % (status, len(text)) + text)
            await writer.drain()
    except (asyncio.IncompleteReadError, ConnectionError):
        writer.close()


async def _main() -> None:
    server = await asyncio.start_server(_serve, "127.0.0.1", 0)
    counts: Dict[str, int] = {"port": server.sockets[0].getsockname()[1]}
    print(json.dumps(counts), flush=True)
    await server.serve_forever()


if __name__ == "__main__":
    sys.exit(asyncio.run(_main()))
