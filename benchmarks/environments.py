"""The peers' environments: built once, each apart, never a dependency of this project.

A peer's environment has its own packages first and sees this interpreter's behind them, so that torch is installed
once and is the same for everyone.
"""

from __future__ import annotations

import os
import subprocess
import sys
import sysconfig
from pathlib import Path
from typing import Dict, List

ROOT = Path(__file__).resolve().parents[1]

#: What each peer's environment installs. Exact versions: a benchmark names what it measured.
PEERS: Dict[str, List[str]] = {
    # MLServer 1.7.1 asks for the running event loop where uvloop 0.22 and later refuse to make one.
    "mlserver": ["mlserver==1.7.1", "uvloop==0.21.0"],
    "litserve": ["litserve==0.2.19"],
    "bentoml": ["bentoml==1.4.40"],
    "mosec": ["mosec==0.9.8"],
    # It carries Triton's server.
    "triton": ["nvidia-pytriton==0.7.0"],
    "rayserve": ["ray[serve]==2.60.0"],
    # HTTP servers that the wrapper could have (benchmarks/http.py).
    "uvicorn": ["uvicorn==0.54.0"],
    "granian": ["granian==2.8.9"],
}


class BuildError(RuntimeError):
    """An environment could not be built; the message says why and what to do."""


def home() -> Path:
    """Where environments lie: ``BENCHMARK_ENVIRONMENTS``, or ``build/benchmarks/environments``."""
    return Path(os.environ.get("BENCHMARK_ENVIRONMENTS", ROOT / "build" / "benchmarks" / "environments"))


def peer_python(peer: str) -> Path:
    """The peer's interpreter; its environment is built when it is not there or holds another version."""
    directory = home() / peer
    python, stamp = directory / "bin" / "python", directory / "installed.txt"
    wanted = " ".join(PEERS[peer])
    if stamp.exists() and stamp.read_text() == wanted and python.exists():
        return python
    print(f"building the environment of {wanted} in {directory}", file=sys.stderr, flush=True)
    _run([sys.executable, "-m", "venv", "--clear", str(directory)])
    version = f"python{sys.version_info.major}.{sys.version_info.minor}"
    # The name sorts last: the peer's own packages come before the shared ones.
    shared = directory / "lib" / version / "site-packages" / "zz_shared.pth"
    shared.write_text(sysconfig.get_paths()["purelib"] + "\n")
    _run([str(python), "-m", "pip", "install", "--quiet", *PEERS[peer]])
    stamp.write_text(wanted)
    return python


def _run(command: List[str]) -> None:
    done = subprocess.run(command, capture_output=True, text=True)
    if done.returncode:
        tail = "\n".join((done.stderr or done.stdout).splitlines()[-5:])
        raise BuildError(f"{' '.join(command)} failed; is a package index reachable?\n{tail}")
