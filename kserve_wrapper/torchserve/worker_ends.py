"""How a worker's process ended that printed no traceback: its signal, the time that it had, or its last words.

TorchServe tells nobody the exit status of a worker. But Python's fault handler, which the supervisor turns on, prints
the signal that ends a process. Of SIGKILL no process can speak.
"""

from __future__ import annotations

import re
import signal
from pathlib import Path
from typing import Dict, List, NamedTuple, Optional, Sequence, Tuple


class End(NamedTuple):
    """What became of a process, and what to do: two sentences without their full stops."""

    cause: str
    mend: str


_LIBRARIES = "a native library failed: take torch, its CUDA and the archive's compiled code of one build"
#: Signal, the fault handler's word for it, what it is, and what usually mends it.
_SIGNALS: Tuple[Tuple[signal.Signals, str, str, str], ...] = (
    (signal.SIGSEGV, "Segmentation fault", "a segmentation fault", _LIBRARIES),
    (
        signal.SIGILL,
        "Illegal instruction",
        "code for another processor",
        "build the archive and install packages for this processor: ts-kserve build --instructions",
    ),
    (signal.SIGABRT, "Aborted", "a native library gave up", "mend what its last lines in TorchServe's log tell"),
    (
        signal.SIGBUS,
        "Bus error",
        "memory that a file or /dev/shm does not hold",
        "enlarge /dev/shm, and replace no file that is in use",
    ),
    (signal.SIGFPE, "Floating", "an arithmetic fault", _LIBRARIES),
)
_MEMORY = "Give the pod more memory, or start fewer workers"
_TRY = "ts-kserve check --load tells which"
_FAULT = "Fatal Python error: "
_FRAME = re.compile(r'  File "(.+)", line (\d+) in (\S+)')
#: What TorchServe's own worker says before and while it loads.
_CHATTER = re.compile(
    r"OpenVINO is |proceeding without onnxruntime|Torch TensorRT|ONNX |'?torch\.compile|Enabled tensor cores"
    r"|s_name_part0=|Listening on |Successfully loaded .*\.ya?ml\.|\[PID\]|Torch worker started|Python runtime"
    r"|Connection accepted|model_name: "
)
#: Characters of last words.
_SHOWN = 200


def crash(said: Sequence[str]) -> Optional[End]:
    """What the fault handler printed; None where it printed nothing."""
    for place, line in enumerate(said):
        if line.startswith(_FAULT):
            word = line[len(_FAULT) :]
            frame = next((found for later in said[place + 1 :] for found in [_FRAME.match(later)] if found), None)
            where = f" in {frame[3]} ({Path(frame[1]).name}, line {frame[2]})" if frame else ""
            for number, known, what, mend in _SIGNALS:
                if word.startswith(known):
                    return End(f"its process was ended by {number.name}, {what}{where}", _sentence(mend))
            return End(f"Python ended: {word.strip().rstrip('.')}{where}", "Mend the handler or the image")
    return None


def by_status(status: int) -> Optional[End]:
    """What an exit status tells, as Python's subprocess counts them: below 0 are signals. None of what is no signal."""
    if status == -signal.SIGKILL:
        return End("its process was killed (SIGKILL), mostly for lack of memory", _MEMORY)
    for number, _, what, mend in _SIGNALS:
        if status == -number:
            return End(f"its process was ended by {number.name}, {what}", _sentence(mend))
    return None


def silent(said: Sequence[str], killed: int = 0) -> End:
    """Of a process that ended and printed no error.

    Args:
        said: all that it printed.
        killed: processes of this container that the kernel is known to have killed for lack of memory.
    """
    words = last_words(said)
    if killed:
        why = f"the kernel has killed {killed} of this container for lack of memory (SIGKILL, status 137)"
        return End(f"its process ended without an error, and {why}", _MEMORY)
    if words is not None:
        return End(
            f"its process ended without an error; its last words were: {words}",
            "If they do not tell, it was killed (SIGKILL), mostly for lack of memory, or its code calls sys.exit: "
            f"{_TRY}",
        )
    return End(
        "its process ended without a word: it was killed (SIGKILL, status 137), mostly for lack of memory, or its code "
        "calls sys.exit or os._exit",
        f"{_MEMORY}, or have the handler raise an error instead; {_TRY}",
    )


def last_words(said: Sequence[str]) -> Optional[str]:
    """The last line that is not TorchServe's own."""
    own: List[str] = [line.strip() for line in said if line.strip() and not _CHATTER.match(line)]
    return own[-1][:_SHOWN].rstrip(".") if own else None


#: What TorchServe says when it ends a worker or could not start it, and what that means.
_TOLD: Dict[str, End] = {
    "Backend worker did not respond in given time": End(
        "its worker took longer than startupTimeout (responseTimeout before TorchServe 0.12), 120 s unless set, and "
        "TorchServe ends and starts it again",
        "Raise the model's startupTimeout in model_snapshot (without one in model-config.yaml), or have it load less",
    ),
    "Backend worker startup time out.": End(
        "its process did not come up within 2 minutes", "Give the pod more processors, or start fewer workers at once"
    ),
}
_UNSTARTED = "Mend the Python that TorchServe starts its workers with"


def told(by_torchserve: str, said: Sequence[str]) -> End:
    """Of a process that TorchServe ended or could not start, in its words."""
    known = _TOLD.get(by_torchserve)
    if known is not None:
        return known
    words = last_words(said)
    return End(f"its process could not be started: {words or by_torchserve.rstrip('.')}", _UNSTARTED)


def _sentence(text: str) -> str:
    return text[:1].upper() + text[1:]
