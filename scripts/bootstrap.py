"""Create the virtual environment that everything else runs in, once; a later call finds it and returns at once.

Runs on a bare Python 3.10 to 3.14 with nothing installed.
"""

from __future__ import annotations

import argparse
import hashlib
import importlib.util
import re
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Optional, Tuple

from scripts.terminal import Step, say

ROOT = Path(__file__).resolve().parent.parent
CONSTRAINTS = ROOT / "constraints.txt"
#: The stock image's packages; the project is not installed there, its archive and wrapper must do as they are.
STOCK = ROOT / "tests" / "stock" / "requirements.txt"
#: The CUDA build of torch that torchvision needs unpacks to about 5 GB; all that is installed is 7 GB.
NEEDED_BYTES = 8 * 10**9
#: The Pythons that the pins are for, and the stock image's.
OLDEST, NEWEST = (3, 10), (3, 14)
STOCK_PYTHON = (3, 9)
#: Lines of pip's output that are shown where it fails.
SHOWN = 25


def fail(cause: str, mend: str) -> None:
    """Say what went wrong and what to do, and end with status 1."""
    sys.exit(f"bootstrap: {cause}\n           {mend}")


def unfit(version: Tuple[int, ...], oldest: Tuple[int, ...], newest: Tuple[int, ...]) -> Optional[str]:
    """What keeps a Python of this ``version`` from running the project, with what to do; None where nothing does."""
    if oldest <= version[:2] <= newest:
        return None
    wanted = ".".join(map(str, oldest)) + ("" if oldest == newest else " to " + ".".join(map(str, newest)))
    return f"it is Python {'.'.join(map(str, version[:3]))}, and the pinned packages are for {wanted}"


def fingerprint(what: list[str]) -> str:
    """A digest of all that the environment is made from."""
    digest = hashlib.sha256(f"{sys.version_info[:2]} {what}".encode())
    for path in (CONSTRAINTS, STOCK, ROOT / "setup.cfg", ROOT / "pyproject.toml"):
        digest.update(path.read_bytes())
    return digest.hexdigest()


def create(venv: Path) -> None:
    """Make an empty environment at ``venv``."""
    free = shutil.disk_usage(ROOT).free
    if free < NEEDED_BYTES:
        fail(
            f"{free / 1e9:.1f} GB free at {ROOT}, about {NEEDED_BYTES / 1e9:.0f} GB needed",
            "make room, or clone the project onto a larger disk",
        )
    if importlib.util.find_spec("venv") is None or importlib.util.find_spec("ensurepip") is None:
        fail(
            f"{sys.executable} has no module venv",
            f"install it (Debian and Ubuntu: apt-get install python{sys.version_info[0]}.{sys.version_info[1]}-venv) "
            "and run make again",
        )
    if subprocess.run([sys.executable, "-m", "venv", "--clear", str(venv)]).returncode:
        fail(f"{sys.executable} could not create {venv}", "what it said is above; put that right and run make again")


def install(venv: Path, what: list[str]) -> None:
    """Install by pip, quietly; where it fails, the end of what it said is shown."""
    command = [str(venv / "bin" / "python"), "-m", "pip", "install", "--progress-bar=off", "--no-input"]
    command += ["--disable-pip-version-check", *what]
    log = venv / "install.log"
    with Step(f"Installed packages into {venv}", lambda: progress(venv, log)), log.open("wb") as output:
        status = subprocess.run(command, stdout=output, stderr=subprocess.STDOUT).returncode
    if status:
        lines = log.read_text(encoding="utf-8", errors="replace").splitlines()
        say("\n".join(lines[-SHOWN:]))
        fail(
            f"pip could not install the dependencies (its last words are above, all of them in {log})",
            "check the network and the package index that pip is set to, then run make again",
        )


def progress(venv: Path, log: Path) -> float:
    """How far pip is, 0 to 1: half is for what it has fetched, half for what it has put in place.

    The bare measure is the number of pins, so a smaller set of extras ends early.
    """
    pins = len({line.partition("==")[0] for line in CONSTRAINTS.read_text().splitlines() if "==" in line})
    fetched = len(
        set(re.findall(rb"^(?:Collecting|Processing|Requirement already satisfied:) (\S+)", log.read_bytes(), re.M))
    )
    placed = sum(1 for _ in venv.glob("lib/python*/site-packages/*.dist-info"))
    return min(1.0, (min(fetched, pins) + placed) / (2 * pins))


def parse() -> argparse.Namespace:
    """The command line."""
    parser = argparse.ArgumentParser(prog="python -m scripts.bootstrap", description=__doc__)
    parser.add_argument("--venv", type=Path, default=ROOT / ".venv", help="where (default: .venv)")
    parser.add_argument(
        "--extras", default="wrapper,grpc,handler,serve,try,test", help="extras of setup.cfg to install"
    )
    parser.add_argument("--stock", action="store_true", help="the stock image's packages instead (Python 3.9)")
    parser.add_argument("--fits", action="store_true", help="only say whether this Python will do, by the exit status")
    return parser.parse_args()


def main() -> None:
    """Entry point."""
    arguments = parse()
    oldest, newest = (STOCK_PYTHON, STOCK_PYTHON) if arguments.stock else (OLDEST, NEWEST)
    fault = unfit(tuple(sys.version_info[:3]), oldest, newest)
    if arguments.fits:
        sys.exit(fault)
    if fault is not None:
        fail(f"{sys.executable} will not do: {fault}", "run it with another Python: make PYTHON=/path/to/python …")
    project = ["-c", str(CONSTRAINTS), "-e", f"{ROOT}[{arguments.extras}]"]
    what = ["-r", str(STOCK)] if arguments.stock else project
    stamp = arguments.venv / "installed"
    wanted = fingerprint(what)
    if stamp.is_file() and stamp.read_text() == wanted:
        return
    say(f"Setting up {arguments.venv}, once: about {5 if arguments.stock else 7} GB, a few minutes")
    create(arguments.venv)
    install(arguments.venv, what)
    stamp.write_text(wanted)


if __name__ == "__main__":
    main()
