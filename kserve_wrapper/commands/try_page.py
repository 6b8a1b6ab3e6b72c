"""Try a server's models in the browser: draw a digit or drop a picture, type a text, fill a table.

    ts-kserve try http://127.0.0.1:8080

The page is made from what the models say of themselves (V2 metadata). It is open to this machine alone, fetches
nothing from elsewhere and reports nothing.
"""

from __future__ import annotations

import argparse
import signal
import sys
import tempfile
from pathlib import Path
from typing import Sequence

from kserve_wrapper.core.sockets import free_port
from kserve_wrapper.trying.client import Server, ServerError


def main(arguments: Sequence[str]) -> int:
    """Entry point: 0 after Ctrl-C or SIGTERM, 1 where the page cannot be, 2 for a wrong address."""
    options = parser().parse_args(arguments)
    try:
        server = Server(options.server)
    except ValueError as error:
        print(f"try: {error}", file=sys.stderr)
        return 2
    # Gradio takes seconds to import: only where there is something to show.
    from kserve_wrapper.trying.page import run

    try:
        names = server.models()
        print(f"{server.base} serves {', '.join(names) or 'no model yet'}", flush=True)
        # As Ctrl-C, which a shell has its background jobs ignore.
        signal.signal(signal.SIGTERM, signal.default_int_handler)
        with tempfile.TemporaryDirectory(prefix="ts-kserve-try-") as folder:
            run(server, Path(folder), options.port or free_port())
    except (ServerError, OSError) as error:
        print(f"try: {error}", file=sys.stderr)
        return 1
    return 0


def parser() -> argparse.ArgumentParser:
    """The command line."""
    made = argparse.ArgumentParser(
        prog="ts-kserve try",
        description=__doc__,
        formatter_class=argparse.RawDescriptionHelpFormatter,
        allow_abbrev=False,
    )
    made.add_argument("server", nargs="?", default="http://127.0.0.1:8080", help="default: %(default)s")
    made.add_argument("--port", type=int, default=7860, help="the page's; 0 = a free one (default: %(default)s)")
    return made
