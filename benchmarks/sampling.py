"""Where CPU time goes: threads from /proc, Python functions from py-spy's samples."""

from __future__ import annotations

import contextlib
import os
import re
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Dict

from benchmarks.load.figures import LoadError
from benchmarks.processes import role_of
from benchmarks.servers.base import Server

#: Frames above these belong to them: (what a frame's file holds, stage).
STAGES = (
    ("kserve_wrapper/codecs", "codecs"),
    ("kserve_wrapper/upstream", "upstream client"),
    ("kserve_wrapper/batching", "batcher"),
    ("kserve_wrapper/httpd", "HTTP server"),
    ("kserve_wrapper/rest", "REST front"),
    ("kserve_wrapper/rpc", "gRPC front"),
    ("kserve_wrapper/core/dataplane", "data plane"),
    ("kserve_wrapper/telemetry", "metrics"),
    ("kserve_wrapper", "wrapper, other"),
    ("mnist_handler/inputs/images", "decode images"),
    ("mnist_handler/inputs/base64_text", "decode base64"),
    ("mnist_handler/envelopes", "envelope"),
    ("mnist_handler/compute/engine", "forward"),
    ("mnist_handler/compute/compiled", "forward"),
    ("mnist_handler/telemetry", "metrics"),
    ("mnist_handler/explain", "explain"),
    ("mnist_handler/predictions", "postprocess"),
    ("mnist_handler", "handler, other"),
    ("ts/protocol", "TorchServe's worker protocol"),
    ("ts/", "TorchServe's worker, other"),
    ("uvicorn", "HTTP server"),
    ("grpc", "gRPC"),
    ("uvloop", "event loop, sockets"),
    ("asyncio", "event loop, sockets"),
)

#: A thread whose innermost frame is one of these waits; py-spy counts some of them as busy.
WAITS = (
    "recv ",
    "epoll_wait ",
    "epoll_pwait ",
    "poll ",
    "select ",
    "__select ",
    "accept ",
    "clock_nanosleep ",
    "sem_wait",
    "pthread_cond_",
)


def threads_cpu(server: Server) -> Dict[str, float]:
    """CPU seconds of every thread, by role and by the thread's name without its number."""
    ticks = os.sysconf("SC_CLK_TCK")
    found: Dict[str, float] = {}
    for group in server.groups:
        for process in group.members():
            role = role_of(process.cmdline(), group.role)
            for task in Path(f"/proc/{process.pid}/task").iterdir():
                with contextlib.suppress(FileNotFoundError, ProcessLookupError):
                    text = (task / "stat").read_text()
                    name = thread_name(text[text.index("(") + 1 : text.rindex(")")])
                    fields = text[text.rindex(")") + 2 :].split()
                    key = f"{role}: {name}"
                    found[key] = found.get(key, 0.0) + (int(fields[11]) + int(fields[12])) / ticks
    return found


def thread_name(name: str) -> str:
    """A thread's name without its number; Java's two compilers are one."""
    if re.match(r"C[12] ", name):
        return "JIT compiler"
    return re.sub(r"[-_ #]*\d.*$", "", name)


def record(pid: int, seconds: float, directory: Path) -> str:
    """py-spy's collapsed stacks of a process, one line a stack, over ``seconds``.

    Raises:
        LoadError: py-spy is not installed, or may not look into the process.
    """
    beside = Path(sys.executable).with_name("py-spy")
    program = str(beside) if beside.exists() else shutil.which("py-spy")
    if program is None:
        raise LoadError("py-spy is not installed: pip install py-spy, or give --no-functions")
    out = directory / f"{pid}.stacks"
    command = [program, "record", "--pid", str(pid), "--duration", str(max(1, int(seconds))), "--rate", "200"]
    command += ["--native", "--format", "raw", "--full-filenames", "--output", str(out)]
    done = subprocess.run(command, capture_output=True, text=True)
    if done.returncode or not out.exists():
        done = subprocess.run([one for one in command if one != "--native"], capture_output=True, text=True)
    if done.returncode or not out.exists():
        raise LoadError(f"py-spy failed: {done.stderr.strip()[-300:]}")
    return out.read_text()


def collapse(stacks: str) -> Dict[str, float]:
    """Shares of the samples by stage: a sample belongs to the innermost known frame; waits are left out."""
    counts: Dict[str, int] = {}
    for line in stacks.splitlines():
        stack, _, count = line.rpartition(" ")
        if stack.rpartition(";")[2].startswith(WAITS):
            continue
        counts[stage_of(stack)] = counts.get(stage_of(stack), 0) + int(count)
    total = sum(counts.values()) or 1
    return {name: count / total for name, count in sorted(counts.items(), key=lambda item: -item[1])}


def stage_of(stack: str) -> str:
    """The stage of a collapsed stack, frames outermost first and separated by semicolons."""
    for frame in reversed(stack.split(";")):
        for part, stage in STAGES:
            if part in frame:
                return stage
    return "other"
