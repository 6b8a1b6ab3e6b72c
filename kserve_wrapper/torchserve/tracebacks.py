"""What a person reads of a traceback: its error in plain words, and the place where that can be mended."""

from __future__ import annotations

import re
from pathlib import PurePosixPath
from typing import Iterable, Optional

_FRAME = re.compile(r'\s*File "(.+)", line ([0-9]{1,9})(?:, in .+)?\Z')
#: Code that whoever packed the archive did not write.
_OTHERS = re.compile(r"/(?:site-packages|dist-packages|lib(?:64)?/python[0-9.]*|mnist_handler|ts)/|<")
#: Errors of whoever wrote the code, which say little without a place. Others name a file, a module or a tensor.
_SLIPS = (
    "SyntaxError",
    "IndentationError",
    "TabError",
    "NameError",
    "UnboundLocalError",
    "AttributeError",
    "TypeError",
)
#: What a terminal takes for a colour.
COLOUR = re.compile(r"\x1b\[[0-9;]*m")
#: Errors of the handler base are whole sentences.
_BASE = re.compile(r"mnist_handler(?:\.\w+)+: ")


def place(frames: Iterable[str]) -> Optional[str]:
    """``FILE, line N`` of the last frame in the archive's own code; None where there is none."""
    found = None
    for line in frames:
        frame = _FRAME.match(line)
        if frame is not None and _OTHERS.search(frame[1]) is None:
            found = f"{PurePosixPath(frame[1]).name}, line {frame[2]}"
    return found


def plain(error: str, where: Optional[str]) -> str:
    """The last line of a traceback for a reader.

    Args:
        error: ``ErrorName: text``.
        where: what `place` found.
    """
    text = _BASE.sub("", COLOUR.sub("", error), count=1).rstrip(" ?")
    return f"{text} ({where})" if where is not None and text.startswith(_SLIPS) else text
