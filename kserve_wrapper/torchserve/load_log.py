"""Why a model does not load, as its worker said it: TorchServe's management address tells nothing of it."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Dict, Iterable, List, Optional, Tuple

from kserve_wrapper.torchserve import tracebacks
from kserve_wrapper.torchserve.log_records import OF_A_REQUEST, TRACEBACK, Stamp, records, stamp, tail, worker_name

#: Bytes at its end that are read.
_TAIL = 256 * 1024
#: Characters of a cause.
_LONGEST = 400
_STARTED = "Listening on port:"
_CHAINS = (
    "During handling of the above exception, another exception occurred:",
    "The above exception was the direct cause of the following exception:",
)
_PIP = re.compile(r"Custom pip package installation failed for model (.+?):?\Z")
#: Where TorchServe cannot import a handler, it looks for one of its own by that name, and complains of that.
_OWN_HANDLER = "No module named 'ts.torch_handler."
#: TorchServe closed the connection to a worker that had loaded.
_HUNG_UP = "BrokenPipeError"
#: What to do, by what the cause begins with or holds.
_MENDS: Tuple[Tuple[str, str], ...] = (
    ("ERROR: ", "Mend the archive's requirements.txt, or give pip an index that has these packages"),
    ("ModuleNotFoundError", "Put the package into the image, or into the archive's requirements.txt"),
    ("FileNotFoundError", "Build the archive with that file (--serialized-file, --extra-files)"),
    (
        "Weights only load",
        "Save the weights as a state dict or TorchScript, load them with weights_only=False, or set "
        "TORCH_FORCE_NO_WEIGHTS_ONLY_LOAD=1 if you trust the archive",
    ),
    ("CUDA out of memory", "Start fewer workers, or take a larger GPU"),
    ("MemoryError", "Start fewer workers, or give the pod more memory"),
)
_ELSE = "Mend the handler or the archive"


class LoadLog:
    """The causes that the file tells.

    Args:
        path: the file, which may appear later; None where nobody writes one.
    """

    def __init__(self, path: Optional[Path]) -> None:
        self._path = path
        self._stamp: Optional[Stamp] = None
        self._causes: Dict[str, str] = {}

    def cause(self, model: str, version: str) -> Optional[str]:
        """The last load error of a version with its mend, in one line; None where none is known."""
        self._refresh()
        return self._causes.get(worker_name(model, version)) or self._causes.get(model)

    def _refresh(self) -> None:
        if self._path is None:
            return
        try:
            seen = stamp(self._path)
            if seen == self._stamp:
                return
            lines = tail(self._path, _TAIL)
        except OSError:
            return
        self._stamp = seen
        self._causes = causes(lines)


def causes(lines: Iterable[str]) -> Dict[str, str]:
    """Load errors by ``MODEL_VERSION`` of a worker, or by model where pip failed before there was one."""
    printed: Dict[str, List[str]] = {}
    found: Dict[str, str] = {}
    for record in records(lines):
        worker, message = record.worker, record.lines
        pip = _PIP.match(message[0])
        if pip is not None:
            found[pip.group(1)] = _told(next((line for line in message if line.startswith("ERROR: ")), message[0]))
        elif worker is not None:
            said = printed.setdefault(worker, [])
            # A new process begins: what the former one printed is told already, or was no error.
            if message[0].startswith(_STARTED):
                _take(found, worker, said)
                said.clear()
            said += message
    for name, said in printed.items():
        _take(found, name, said)
    return found


def _take(found: Dict[str, str], name: str, said: List[str]) -> None:
    error = _first_chain(said, loading=True)
    if error is not None:
        found[name] = _told(error)


def _first_chain(said: List[str], loading: bool = False) -> Optional[str]:
    """The exception that the first traceback comes to; later ones are about what followed from it.

    Args:
        loading: only of the load: no request that failed afterwards.
    """
    error: Optional[str] = None
    where: Optional[str] = None
    frames: List[str] = []
    chained = within = False
    for before, line, after in zip(["", *said], said, [*said[1:], ""]):
        if line == TRACEBACK:
            if (loading and before in OF_A_REQUEST) or (error is not None and not chained):
                break
            within, chained = True, False
            frames.clear()
        elif within and line and not line.startswith((" ", "\t")):
            within = False
            if not line.startswith(_HUNG_UP) and (error is None or _OWN_HANDLER not in line):
                # torch lists what does not fit in lines of their own.
                error = f"{line} {after.strip()}" if line.endswith(":") and after[:1].isspace() else line
                where = tracebacks.place(frames)
        elif within:
            frames.append(line)
        elif line in _CHAINS:
            chained = True
    return None if error is None else tracebacks.plain(error, where)


def failure(lines: Iterable[str]) -> Optional[Tuple[str, str]]:
    """The exception that what a worker printed comes to, in one line, and its mend; None where it printed none."""
    error = _first_chain(list(lines))
    return None if error is None else _cause_and_mend(error)


def _told(error: str) -> str:
    return ". ".join(_cause_and_mend(error))


def _cause_and_mend(error: str) -> Tuple[str, str]:
    text = "".join(c if c.isprintable() else " " for c in error).strip()
    text = text if len(text) <= _LONGEST else text[:_LONGEST] + " …"
    return text.rstrip("."), next((mend for mark, mend in _MENDS if mark in text), _ELSE)
