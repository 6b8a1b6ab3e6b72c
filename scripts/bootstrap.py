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
#: What decides whether an existing environment still fits.
INPUTS = ("constraints.txt", "setup.cfg", "pyproject.toml")
#: The CUDA build of torch that torchvision needs unpacks to about 5 GB.
NEEDED_BYTES = 8 * 10**9


def fail(cause: str, mend: str) -> None:
    """Say what went wrong and what to do, and end with status 1."""
    sys.exit(f"bootstrap: {cause}\n           {mend}")


def fingerprint(extras: str) -> str:
    """A digest of all that the environment is made from."""
    digest = hashlib.sha256(f"{sys.version_info[:2]} {extras} {ROOT}".encode())
    for name in INPUTS:
        digest.update((ROOT / name).read_bytes())
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


def install(venv: Path, extras: str) -> None:
    """Install the project, editable, with pinned dependencies; pip shows its own progress."""
    requirement = f"{ROOT}[{extras}]"
    command = [str(venv / "bin" / "python"), "-m", "pip", "install", "--disable-pip-version-check"]
    command += ["-c", str(ROOT / "constraints.txt"), "-e", requirement]
    if subprocess.run(command).returncode:
        fail(
            "pip could not install the dependencies (its own words are above)",
            "check the network and the package index that pip is set to, then run make again",
        )


def main() -> None:
    """Entry point."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--venv", type=Path, default=ROOT / ".venv", help="where (default: .venv)")
    parser.add_argument("--extras", default="wrapper,handler,serve,test", help="extras of setup.cfg to install")
    arguments = parser.parse_args()
    if not (3, 10) <= sys.version_info[:2] <= (3, 12):
        fail(f"this is Python {sys.version.split()[0]}", "run it with Python 3.10, 3.11 or 3.12")
    stamp = arguments.venv / "installed"
    wanted = fingerprint(arguments.extras)
    if stamp.is_file() and stamp.read_text() == wanted:
        return
    print(f"Setting up {arguments.venv} (about 5 GB; a few minutes, once)", flush=True)
    create(arguments.venv)
    install(arguments.venv, arguments.extras)
    stamp.write_text(wanted)


if __name__ == "__main__":
    main()
