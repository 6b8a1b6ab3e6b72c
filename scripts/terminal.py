"""What a person sees of a long step: one line with a bar while it runs, one line with a tick when it is done.

Needs nothing but Python, so that it can show how the packages are installed.
"""

from __future__ import annotations

import os
import shutil
import sys
import threading
import time
from types import TracebackType
from typing import Callable, Optional, TextIO, Type

#: Seconds between two pictures of a bar.
_PAUSE = 0.2
_WIDTH = 24
_GREEN, _RED, _DIM = "32", "31", "2"

#: How far a step is, 0 to 1; None where nobody can know.
Fraction = Callable[[], Optional[float]]


def _coloured(stream: TextIO) -> bool:
    return stream.isatty() and "NO_COLOR" not in os.environ and os.environ.get("TERM") != "dumb"


def _paint(text: str, colour: str, stream: TextIO) -> str:
    return f"\033[{colour}m{text}\033[0m" if _coloured(stream) else text


def _sign(beautiful: str, plain: str, stream: TextIO) -> str:
    """``beautiful`` where the stream can encode it."""
    try:
        beautiful.encode(stream.encoding or "ascii")
    except UnicodeEncodeError:
        return plain
    return beautiful


def say(text: str) -> None:
    """A line for people."""
    print(text, flush=True)


def dim(text: str) -> str:
    """``text`` in the background, on a terminal."""
    return _paint(text, _DIM, sys.stdout)


def done(text: str) -> None:
    """A line with a tick: this is so, it was checked."""
    say(f"{_paint(_sign('✓', 'ok', sys.stdout), _GREEN, sys.stdout)} {text}")


def failed(text: str) -> None:
    """A line with a cross."""
    say(f"{_paint(_sign('✗', 'FAILED', sys.stdout), _RED, sys.stdout)} {text}")


def _unknown() -> Optional[float]:
    return None


class Step:
    """A long step: ``with Step("Building mnist.mar"): …`` ends as ``✓ Building mnist.mar (3 s)``, or with a cross.

    The bar is drawn on a terminal only; elsewhere one line says when the step is over.
    """

    def __init__(self, title: str, fraction: Fraction = _unknown) -> None:
        self._title, self._fraction = title, fraction
        self._over = threading.Event()
        self._began = 0.0
        self._thread = threading.Thread(target=self._draw, daemon=True)

    def __enter__(self) -> Step:
        self._began = time.monotonic()
        if _coloured(sys.stdout):
            self._thread.start()
        return self

    def __exit__(
        self,
        kind: Optional[Type[BaseException]],
        error: Optional[BaseException],
        trace: Optional[TracebackType],
    ) -> None:
        self._over.set()
        if self._thread.ident is not None:
            self._thread.join()
            sys.stdout.write("\r\033[K")
        text = f"{self._title} {dim(f'({_elapsed(self._began)})')}"
        (done if error is None else failed)(text)

    def _draw(self) -> None:
        turn = 0
        while not self._over.wait(_PAUSE):
            room = shutil.get_terminal_size().columns - 1
            line = f"{bar(self._fraction(), turn)} {_elapsed(self._began):>6}  {self._title}"
            sys.stdout.write("\r\033[K" + line[:room])
            sys.stdout.flush()
            turn += 1


def bar(fraction: Optional[float], turn: int) -> str:
    """A bar that is filled to ``fraction``; where that is unknown, a block that wanders with ``turn``."""
    if fraction is not None:
        filled = round(max(0.0, min(1.0, fraction)) * _WIDTH)
        return "[" + "#" * filled + "." * (_WIDTH - filled) + "]"
    reach = _WIDTH - 3
    place = turn % (2 * reach)
    place = min(place, 2 * reach - place)
    return "[" + "." * place + "###" + "." * (reach - place) + "]"


def _elapsed(since: float) -> str:
    seconds = int(time.monotonic() - since)
    return f"{seconds} s" if seconds < 60 else f"{seconds // 60} min {seconds % 60:02} s"
