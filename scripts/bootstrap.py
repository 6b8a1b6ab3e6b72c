"""Create the virtual environment that everything else runs in, once; a later call finds it and returns at once.

Runs on a bare Python 3.10 to 3.12 with nothing installed.
"""

from __future__ import annotations

import argparse
import hashlib
import shutil
import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
CONSTRAINTS = ROOT / "constraints.txt"
#: The stock image's packages; the project is not installed there, its archive and wrapper must do as they are.
STOCK = ROOT / "tests" / "stock" / "requirements.txt"
#: The CUDA build of torch that torchvision needs unpacks to about 5 GB.
NEEDED_BYTES = 8 * 10**9


def fail(cause: str, mend: str) -> None:
    """Say what went wrong and what to do, and end with status 1."""
    sys.exit(f"bootstrap: {cause}\n           {mend}")


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
    if subprocess.run([sys.executable, "-m", "venv", "--clear", str(venv)]).returncode:
        fail(
            f"{sys.executable} could not create a virtual environment",
            "install its venv module (Debian: apt-get install python3-venv) and run make again",
        )


def install(venv: Path, what: list[str]) -> None:
    """Install by pip, which shows its own progress."""
    command = [str(venv / "bin" / "python"), "-m", "pip", "install", "--disable-pip-version-check", *what]
    if subprocess.run(command).returncode:
        fail(
            "pip could not install the dependencies (its own words are above)",
            "check the network and the package index that pip is set to, then run make again",
        )


def main() -> None:
    """Entry point."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--venv", type=Path, default=ROOT / ".venv", help="where (default: .venv)")
    parser.add_argument("--extras", default="wrapper,full,handler,serve,test", help="extras of setup.cfg to install")
    parser.add_argument("--stock", action="store_true", help="the stock image's packages instead (Python 3.9)")
    arguments = parser.parse_args()
    oldest, newest = ((3, 9), (3, 9)) if arguments.stock else ((3, 10), (3, 12))
    if not oldest <= sys.version_info[:2] <= newest:
        fail(f"this is Python {sys.version.split()[0]}", f"run it with Python {oldest[0]}.{oldest[1]} to 3.{newest[1]}")
    project = ["-c", str(CONSTRAINTS), "-e", f"{ROOT}[{arguments.extras}]"]
    what = ["-r", str(STOCK)] if arguments.stock else project
    stamp = arguments.venv / "installed"
    wanted = fingerprint(what)
    if stamp.is_file() and stamp.read_text() == wanted:
        return
    print(f"Setting up {arguments.venv} (about 5 GB; a few minutes, once)", flush=True)
    create(arguments.venv)
    install(arguments.venv, what)
    stamp.write_text(wanted)


if __name__ == "__main__":
    main()
