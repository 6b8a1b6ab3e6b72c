"""Why a model does not load, as its worker said it: TorchServe's management address tells nothing of it."""

from __future__ import annotations

import re
import time
from dataclasses import dataclass, field
from pathlib import Path
from typing import Dict, Iterable, List, Optional, Tuple

from kserve_wrapper.torchserve import tracebacks, worker_ends
from kserve_wrapper.torchserve.log_records import (
    OF_A_REQUEST,
    TRACEBACK,
    Record,
    Stamp,
    records,
    stamp,
    tail,
    worker_name,
)
from kserve_wrapper.torchserve.memory_kills import memory_kills

#: Bytes at its end that are read.
_TAIL = 256 * 1024
#: Characters of a cause.
_LONGEST = 400
_STARTED = "Listening on port:"
_CHAINS = (
    "During handling of the above exception, another exception occurred:",
    "The above exception was the direct cause of the following exception:",
)
_PIP = re.compile(r"(?:Custom pip package installation|Virtual environment creation) failed for model (.+?):?\Z")
_VENV = re.compile(r"Virtual environment creation for model (.+?) at .* failed:\Z")
#: TorchServe of a worker that ended while it loaded, of one that it ended or could not start, and of the snapshot.
_LOAD_FAILED, _WORKER_ERROR = "Load model failed: ", "Backend worker error"
_INITIALIZATION = re.compile(r"\S*WorkerInitializationException: (.+)\Z")
_NO_ANSWER = "Backend worker did not respond in given time"
_STOPPED = re.compile(r"Error while (?:registering model|retrieving snapshot details)\. Details: (.+)\Z")
#: What a worker says that takes long.
_PROGRESS = re.compile(r"(warming|compiling \([\w-]{1,40}\)), ([0-9]{1,9}) s( of at most [0-9]{1,9})?\Z")
_WARM = "warm after "
#: Seconds after which a worker that ended has printed all that it will.
_SETTLED = 0.5
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
    ("in loading state_dict", "Pack the weights that belong to this model file"),
    ("PytorchStreamReader failed", "Copy the weights again: the file is damaged"),
    ("deserialize object on a CUDA device", "Load the weights with map_location, or serve them on a GPU"),
    ("Expected only one class in custom service code", "Have one class in the handler's file, no more and no fewer"),
    ("SyntaxError", "Correct the code there"),
    ("IndentationError", "Correct the code there"),
    (
        "cannot import name",
        "Take the module's version that has it, and name no file of the archive like a package",
    ),
    ("undefined symbol", "Take torch and what was compiled for it of one build"),
    ("yaml.", "Mend model-config.yaml"),
    ("No space left on device", "Give the pod more room for temporary files"),
    ("CUDA out of memory", "Start fewer workers, or take a larger GPU"),
    ("MemoryError", "Start fewer workers, or give the pod more memory"),
)
_ELSE = "Mend the handler or the archive"


class LoadLog:
    """What the file tells.

    Args:
        path: the file, which may appear later; None where nobody writes one.
    """

    def __init__(self, path: Optional[Path]) -> None:
        self._path = path
        self._stamp: Optional[Stamp] = None
        self._found = Found()
        #: Processes that the kernel had killed before.
        self._killed = memory_kills() if path is not None else 0

    def cause(self, model: str, version: str) -> Optional[str]:
        """The last load error of a version with its mend, in one line; None where none is known."""
        self._refresh()
        return self._found.causes.get(worker_name(model, version)) or self._found.causes.get(model)

    def progress(self, model: str, version: str) -> Optional[str]:
        """What its worker is at and for how long, ``warming, 40 s of at most 90``; None where it does not say."""
        self._refresh()
        said = self._found.progress.get(worker_name(model, version))
        return None if said is None else said.at(time.time())

    def stopped(self) -> Optional[str]:
        """Why TorchServe restored no further model of its snapshot, in its own words; None where it did."""
        self._refresh()
        return self._found.stopped

    def _refresh(self) -> None:
        if self._path is None:
            return
        try:
            seen = stamp(self._path)
            if seen == self._stamp and not self._found.unsettled:
                return
            lines = tail(self._path, _TAIL)
        except OSError:
            return
        self._stamp = seen
        former, self._found = self._found, read(lines, time.time(), memory_kills() - self._killed)
        self._found.keep_stopped(former)


@dataclass(frozen=True)
class Progress:
    """``what`` has taken ``seconds`` at ``time``, since the epoch; ``limit`` is the end of the text."""

    what: str
    seconds: float
    limit: str
    time: float

    def at(self, now: float) -> str:
        return f"{self.what}, {self.seconds + max(0.0, now - self.time):.0f} s{self.limit}"


@dataclass
class Found:
    """Load errors and progress by ``MODEL_VERSION`` of a worker; errors by model where there was no worker yet."""

    causes: Dict[str, str] = field(default_factory=dict)
    progress: Dict[str, Progress] = field(default_factory=dict)
    stopped: Optional[str] = None
    #: Some worker has just ended, and may not have been heard out.
    unsettled: bool = False

    def keep_stopped(self, former: Found) -> None:
        """TorchServe restores once, when it starts: what it said then holds when its lines are long out of sight."""
        if self.stopped is None and former.stopped is not None:
            self.stopped = former.stopped
            model = uninstalled(former.stopped)
            if model in former.causes:
                self.causes.setdefault(model, former.causes[model])


@dataclass(eq=False)
class _Process:
    """A worker's process, as far as it has been heard of."""

    said: List[str] = field(default_factory=list)
    progress: Optional[Progress] = None
    #: TorchServe's words for why it ended it or could not start it.
    told: Optional[str] = None
    #: When TorchServe said that its load failed.
    failed: Optional[float] = None


def uninstalled(text: str) -> Optional[str]:
    """The model whose packages, as TorchServe says, could not be installed; None where it is about something else."""
    pip = _PIP.match(text)
    return pip.group(1) if pip is not None else None


def causes(lines: Iterable[str]) -> Dict[str, str]:
    """``Found.causes`` of what is long past."""
    return read(lines, float("inf")).causes


def read(lines: Iterable[str], now: float, killed: int = 0) -> Found:
    """What the lines of the file tell at ``now``, seconds since the epoch.

    Args:
        killed: processes that the kernel has killed for lack of memory.
    """
    found, processes = Found(), _Processes()
    for record in records(lines):
        first = record.lines[0]
        pip, stopped = _PIP.match(first) or _VENV.match(first), _STOPPED.match(first)
        if record.worker is not None or record.follows is not None:
            processes.take(record)
        elif pip is not None:
            said = next((line for line in record.lines if line.startswith("ERROR: ")), first.rstrip(":"))
            found.causes[pip.group(1)] = _told(said)
        elif stopped is not None:
            found.stopped = stopped.group(1)
    present = processes.now()
    for name, process in processes.all:
        cause = _cause(process, killed)
        if process.failed is not None and now - process.failed < _SETTLED:
            found.unsettled = True
        elif cause is not None:
            found.causes[name] = cause
        elif (name, process) not in present:
            # It ended, and not while it loaded.
            found.causes.pop(name, None)
    for name, process in dict(processes.all).items():
        if process.progress is not None and process.failed is None:
            found.progress[name] = process.progress
    return found


class _Processes:
    """Whose records they are: the workers of one port follow each other."""

    def __init__(self) -> None:
        #: In the order of their starts, with the ``MODEL_VERSION`` of each.
        self.all: List[Tuple[str, _Process]] = []
        self._present: Dict[str, Tuple[str, _Process]] = {}

    def now(self) -> List[Tuple[str, _Process]]:
        return list(self._present.values())

    def take(self, record: Record) -> None:
        name = record.worker or record.follows or ""
        begins = record.worker is not None and record.lines[0].startswith(_STARTED)
        if begins or record.place not in self._present:
            self._present[record.place] = (name, _Process())
            self.all.append(self._present[record.place])
        process = self._present[record.place][1]
        if record.worker is None:
            _follow(process, record)
            return
        process.said += record.lines
        said = _PROGRESS.match(record.lines[0])
        if said is not None:
            process.progress = Progress(said[1], float(said[2]), said[3] or "", record.time)
        elif record.lines[0].startswith(_WARM):
            process.progress = None


def _follow(process: _Process, record: Record) -> None:
    """What TorchServe says of a process."""
    if record.lines[0].startswith(_LOAD_FAILED):
        process.failed = record.time
    elif record.lines[0] == _WORKER_ERROR:
        process.told = next((said[1] for said in map(_INITIALIZATION.match, record.lines[1:]) if said), None)
        # One that does not answer may have been asked a client's question: then nothing more is said.
        if process.told is not None and process.told != _NO_ANSWER:
            process.failed = record.time


def _cause(process: _Process, killed: int) -> Optional[str]:
    error = _first_chain(process.said, loading=True)
    if error is not None:
        return _told(error)
    if process.failed is None:
        return None
    end = worker_ends.crash(process.said)
    if end is None and process.told is not None:
        end = worker_ends.told(process.told, process.said)
    return _printable(". ".join(end or worker_ends.silent(process.said, killed)))


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


def failure(lines: Iterable[str], status: Optional[int] = None) -> Optional[Tuple[str, str]]:
    """The exception that what a worker printed comes to, or its signal, in one line, and its mend; None without either.

    Args:
        status: how the process ended, as subprocess has it; None where it did not, or that is not known.
    """
    said = list(lines)
    error = _first_chain(said)
    if error is not None:
        return _cause_and_mend(error)
    return worker_ends.crash(said) or (None if status is None else worker_ends.by_status(status))


def _told(error: str) -> str:
    return ". ".join(_cause_and_mend(error))


def _cause_and_mend(error: str) -> Tuple[str, str]:
    text = _printable(error)
    text = text if len(text) <= _LONGEST else text[:_LONGEST] + " …"
    return text.rstrip("."), next((mend for mark, mend in _MENDS if mark in text), _ELSE)


def _printable(text: str) -> str:
    return "".join(c if c.isprintable() else " " for c in tracebacks.COLOUR.sub("", text)).strip()
