"""Why a model does not load, as its worker said it: TorchServe's management address tells nothing of it.

The supervisor has TorchServe write what workers print, and what it says of archives that it cannot take, to a file of
its own: ``THREAD, tab, LOGGER, tab, MESSAGE`` a line; a line without tabs belongs to the message before.
"""

from __future__ import annotations

import re
from pathlib import Path
from typing import Dict, Iterable, Iterator, List, Mapping, Optional, Tuple

NAME = "loads.log"
#: Where the wrapper looks, when set.
VARIABLE = "TS_KSERVE_LOAD_LOG"
#: Bytes at its end that are read.
_TAIL = 256 * 1024
#: Characters of a cause.
_LONGEST = 400
#: TorchServe names a worker's thread by port, the model's first 25 characters, and version.
_WORKER = re.compile(r"W-[0-9]+-(.+)-std(?:out|err)\Z")
_NAME = 25
_STARTED = "Listening on port:"
#: What TorchServe prints before the traceback of a request that failed: the model had loaded.
_OF_A_REQUEST = ("Invoking custom service failed.", "Prediction error", "System out of memory", "CUDA out of memory")
_TRACEBACK = "Traceback (most recent call last):"
_CHAINS = (
    "During handling of the above exception, another exception occurred:",
    "The above exception was the direct cause of the following exception:",
)
_PIP = re.compile(r"Custom pip package installation failed for model (.+?):?\Z")
#: Where TorchServe cannot import a handler, it looks for one of its own by that name, and complains of that.
_OWN_HANDLER = "No module named 'ts.torch_handler."
#: What to do, by what the cause begins with or holds.
_MENDS: Tuple[Tuple[str, str], ...] = (
    ("ERROR: ", "Mend the archive's requirements.txt, or give pip an index that has these packages"),
    ("ModuleNotFoundError", "Put the package into the image, or into the archive's requirements.txt"),
    ("FileNotFoundError", "Build the archive with that file (--serialized-file, --extra-files)"),
    ("weights_only", "Save the weights as a state dict or TorchScript, or load them with weights_only=False"),
    ("CUDA out of memory", "Start fewer workers, or take a larger GPU"),
    ("MemoryError", "Start fewer workers, or give the pod more memory"),
)
_ELSE = "Mend the handler or the archive"

Record = Tuple[str, List[str]]


class LoadLog:
    """The causes that the file tells.

    Args:
        path: the file, which may appear later; None where nobody writes one.
    """

    def __init__(self, path: Optional[Path]) -> None:
        self._path = path
        self._stamp: Optional[Tuple[int, int, int]] = None
        self._causes: Dict[str, str] = {}

    def cause(self, model: str, version: str) -> Optional[str]:
        """The last load error of a version with its mend, in one line; None where none is known."""
        self._refresh()
        return self._causes.get(f"{model[:_NAME]}_{version}") or self._causes.get(model)

    def _refresh(self) -> None:
        if self._path is None:
            return
        try:
            status = self._path.stat()
            stamp = (status.st_mtime_ns, status.st_size, status.st_ino)
            if stamp == self._stamp:
                return
            with self._path.open("rb") as file:
                file.seek(max(0, status.st_size - _TAIL))
                text = file.read(_TAIL).decode("utf-8", "replace")
        except OSError:
            return
        self._stamp = stamp
        self._causes = causes(text.splitlines())


def find(environ: Mapping[str, str]) -> LoadLog:
    """The file that the supervisor named; without a supervisor there is none."""
    named = environ.get(VARIABLE)
    return LoadLog(Path(named) if named else None)


def causes(lines: Iterable[str]) -> Dict[str, str]:
    """Load errors by ``MODEL_VERSION`` of a worker, or by model where pip failed before there was one."""
    printed: Dict[str, List[str]] = {}
    found: Dict[str, str] = {}
    for thread, message in _records(lines):
        worker = _WORKER.match(thread)
        pip = _PIP.match(message[0])
        if pip is not None:
            found[pip.group(1)] = _told(next((line for line in message if line.startswith("ERROR: ")), message[0]))
        elif worker is not None:
            said = printed.setdefault(worker.group(1), [])
            # A new process begins: what the former one printed is told already, or was no error.
            if message[0].startswith(_STARTED):
                _take(found, worker.group(1), said)
                said.clear()
            said += message
    for name, said in printed.items():
        _take(found, name, said)
    return found


def _records(lines: Iterable[str]) -> Iterator[Record]:
    """Thread and lines of each message."""
    record: Optional[Record] = None
    for line in lines:
        thread, tab, rest = line.partition("\t")
        _, second, message = rest.partition("\t")
        if tab and second:
            if record is not None:
                yield record
            record = (thread, [message])
        elif record is not None:
            record[1].append(line)
    if record is not None:
        yield record


def _take(found: Dict[str, str], name: str, said: List[str]) -> None:
    error = _first_chain(said)
    if error is not None:
        found[name] = _told(error)


def _first_chain(said: List[str]) -> Optional[str]:
    """The exception that the first traceback comes to; later ones are about what followed from it."""
    error: Optional[str] = None
    chained = within = False
    for before, line in zip(["", *said], said):
        if line == _TRACEBACK:
            if before in _OF_A_REQUEST or (error is not None and not chained):
                break
            within, chained = True, False
        elif within and line and not line.startswith((" ", "\t")):
            within = False
            error = line if error is None or _OWN_HANDLER not in line else error
        elif line in _CHAINS:
            chained = True
    return error


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
