"""TorchServe and the wrapper as a child of a command: started, waited for, stopped with it."""

from __future__ import annotations

import contextlib
import functools
import json
import os
import signal
import subprocess
import sys
import time
import urllib.error
import urllib.request
from dataclasses import dataclass
from pathlib import Path
from types import FrameType, TracebackType
from typing import IO, Any, List, Mapping, Optional, Sequence, Type
from urllib.parse import quote, urlsplit

from kserve_wrapper.core import lifetime
from kserve_wrapper.core.probe import answers
from kserve_wrapper.core.sockets import free_port
from kserve_wrapper.supervisor import checks

#: Seconds for a stop; the supervisor drains within 25.
_STOP = 40.0
_EVERY = 0.2
#: Between two lines about a start that takes long.
_WORD_EVERY = 10.0
#: Said when it is asked to stop for the first time, and for the second.
_STOPPING = (
    "Stopping: requests in flight are answered first. Ctrl-C again ends at once.",
    "Stopping at once.",
)


@dataclass(frozen=True)
class Ports:
    """Where the wrapper listens."""

    http: int
    grpc: int

    @classmethod
    def choose(cls, http: int, grpc: int, free: bool) -> Ports:
        """The ports asked for, or free ones."""
        return cls(free_port(), free_port()) if free else cls(http, grpc)

    def flags(self) -> List[str]:
        return ["--http_port", str(self.http), "--grpc_port", str(self.grpc)]


class Running:
    """The supervisor as a child process; a context that ends it.

    Args:
        config: config.properties to begin with.
        settings: properties that are set whatever it says.
        wrapper: flags of the wrapper.
        log: the file that gets all output, unless ``verbose``.
    """

    def __init__(
        self, config: Path, settings: Mapping[str, str], wrapper: Sequence[str], log: Path, verbose: bool = False
    ) -> None:
        pairs = [item for key, value in settings.items() for item in ("--set", f"{key}={value}")]
        self._command = [sys.executable, "-m", "kserve_wrapper.supervisor", *pairs, "--ts-config", str(config)]
        self._command += ["--", *wrapper]
        self._log, self._verbose = log, verbose
        self.base = ""
        #: How often.
        self._asked_to_stop = 0

    def __enter__(self) -> Running:
        output: Optional[IO[Any]] = None if self._verbose else self._log.open("wb")
        # A session of its own, so that a signal comes to it by this process alone, whether a terminal sent it to the
        # whole group or somebody to this one pid; it ends with this process however that ends.
        prepare = functools.partial(lifetime.end_with_parent, signal.SIGTERM, os.getpid())
        self._process = subprocess.Popen(
            self._command,
            stdin=subprocess.DEVNULL,
            stdout=output,
            stderr=subprocess.STDOUT if output else None,
            start_new_session=True,
            preexec_fn=prepare,
        )
        if output is not None:
            output.close()
        self._former = [signal.signal(number, self._pass_on) for number in (signal.SIGTERM, signal.SIGINT)]
        return self

    def __exit__(
        self, kind: Optional[Type[BaseException]], error: Optional[BaseException], trace: Optional[TracebackType]
    ) -> None:
        if self._process.poll() is None:
            self._process.send_signal(signal.SIGTERM)
        try:
            self._process.wait(_STOP)
        except subprocess.TimeoutExpired:
            self._process.kill()
            self._process.wait()
        for number, former in zip((signal.SIGTERM, signal.SIGINT), self._former):
            signal.signal(number, former)

    def wait_ready(self, base: str, models: Sequence[str] = ()) -> bool:
        """Until every model is ready; False where the supervisor has ended.

        What another server says at this address is not taken for an answer of one's own.

        Load errors are told as they come, and every now and then what a long start is at, and which of several models
        answer meanwhile.

        Args:
            models: their names.
        """
        self.base = base
        told: List[str] = []
        before: List[str] = []
        next_word = time.monotonic() + _WORD_EVERY
        while self._process.poll() is None and not self._asked_to_stop:
            reason = why_not_ready(base) or self._anothers(base)
            if reason is None:
                return True
            news = [cause for cause in self.errors() if cause not in told]
            told += news
            if time.monotonic() >= next_word and not told:
                news = [reason]
            for line in news:
                print(f"not ready yet: {line}", file=sys.stderr, flush=True)
            if news or time.monotonic() >= next_word:
                next_word = time.monotonic() + _WORD_EVERY
                before = self._tell_ready(base, models, before)
            time.sleep(_EVERY)
        return False

    def _tell_ready(self, base: str, models: Sequence[str], before: List[str]) -> List[str]:
        """Tells which of several models are ready, where that are others than before; returns them."""
        ready = [name for name in models if answers(f"{base}/v2/models/{quote(name, safe='')}/ready")]
        if 0 < len(ready) < len(models) and ready != before and self._anothers(base) is None:
            print(f"Ready so far: {', '.join(ready)} at {base}", flush=True)
        return ready

    def _anothers(self, base: str) -> Optional[str]:
        """Which server answers there, where none of the supervisor's children listens; None where one does."""
        port = urlsplit(base).port or 80
        found = checks.listeners(port)
        if found is None or any(checks.descends(process, self._process.pid) for process in found):
            return None
        return f"another server answers at {base}: port {port} is taken{checks.owner(port)}"

    def errors(self) -> List[str]:
        """What the log has at ERROR, and what the supervisor said of why it did not start."""
        if self._verbose:
            return []
        found = []
        for line in self._log.read_text(encoding="utf-8", errors="replace").splitlines():
            if line.startswith("{"):
                with contextlib.suppress(ValueError):
                    entry = json.loads(line)
                    if isinstance(entry, dict) and entry.get("level") == "ERROR":
                        found.append(str(entry.get("message")))
        return found

    def said(self) -> List[str]:
        """The supervisor's own lines."""
        text = "" if self._verbose else self._log.read_text(encoding="utf-8", errors="replace")
        return [line for line in text.splitlines() if line.startswith(("supervisor: ", "ts-kserve "))]

    def wait(self) -> int:
        """Until the supervisor ends; its exit status, 0 where it ended as it was asked to."""
        told = 0
        while self._process.poll() is None:
            asked = self._asked_to_stop  # a signal may come while these lines are printed
            for line in _STOPPING[told:asked]:
                print(line, flush=True)
            told = asked
            with contextlib.suppress(subprocess.TimeoutExpired):
                self._process.wait(_EVERY)
        status = self._process.returncode
        # Before it has begun to listen for signals, one ends it.
        return 0 if self._asked_to_stop and status == -signal.SIGTERM else status

    def _pass_on(self, number: int, frame: Optional[FrameType]) -> None:
        """The first lets it answer what it has, the second ends it at once."""
        self._asked_to_stop += 1
        if self._process.poll() is None:
            self._process.send_signal(signal.SIGTERM)


def why_not_ready(base: str) -> Optional[str]:
    """What the server says of it, or why it says nothing; None where every model is ready."""
    try:
        with urllib.request.urlopen(f"{base}/v2/health/ready", timeout=5):
            return None
    except urllib.error.HTTPError as error:
        # Closed here: else Python 3.14 warns of it, wherever its garbage is found.
        with error:
            try:
                return str(json.loads(error.read())["reason"])
            except (OSError, ValueError, KeyError, TypeError):
                return f"the server answers {error.code}"
    except (OSError, ValueError):
        return "the server does not answer yet"
