"""A handler as people have them: TorchServe's base class, rows in a list, one bad row fails its whole request."""

from __future__ import annotations

import time
from typing import Any, List

from ts.torch_handler.base_handler import BaseHandler


class EchoHandler(BaseHandler):
    """Answers each row with its own data, after 20 ms for each request."""

    def initialize(self, context: Any) -> None:
        self.context = context
        self.initialized = True

    def handle(self, data: List[Any], context: Any) -> List[Any]:
        time.sleep(0.02)
        rows = [row["data"] for row in data]
        if "bad" in rows:
            raise ValueError("a bad row")
        return [f"{len(row)} numbers" if isinstance(row, list) else f"echo {row}" for row in rows]
