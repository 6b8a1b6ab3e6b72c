"""Pack models' folders into archives (MARs) with torch-model-archiver, and see each load once.

    ts-kserve build my_model --out model-store

The check loads the archive in a process of its own, as TorchServe would, and asks it the request in
FOLDER/example.json (V1 or V2), or a row made up from the model's metadata. Where the handler is built on mnist_handler
and there is a C++ compiler here, the model is compiled ahead. FOLDER/mar.json says what is packed:
"""

from __future__ import annotations

import argparse
import sys
from pathlib import Path
from typing import Optional, Sequence

from kserve_wrapper.archiver import BuildError, build, build_checked, description
from kserve_wrapper.archiver.ahead import BASELINE, NATIVE


def main(arguments: Sequence[str]) -> int:
    """Entry point: 0, or 1 with the cause at standard error."""
    options = parser().parse_args(arguments)
    for folder in options.folder:
        instructions = options.instructions if options.compile else None
        if build_one(folder, options.out, options.version, options.check, instructions) is None:
            return 1
    return 0


def build_one(
    folder: Path,
    out: Path,
    version: Optional[str] = None,
    check: bool = True,
    instructions: Optional[str] = None,
    command: str = "build",
) -> Optional[Path]:
    """The archive; None where it could not be built, which standard error has said.

    Args:
        command: who says it.
    """

    def tell(text: str) -> None:
        print(f"{command}: {text}", file=sys.stderr, flush=True)

    builder = build_checked if check else build
    tell(f"packing {folder}{', and loading it once to see that it works' if check else ''}")
    try:
        path = builder(folder, out, version, lambda text: tell(f"warning: {text}"), instructions=instructions)
    except (BuildError, OSError) as error:
        tell(str(error))
        return None
    print(f"{path} ({path.stat().st_size / 1024:.0f} KiB)", flush=True)
    return path


def parser() -> argparse.ArgumentParser:
    """The command line."""
    made = argparse.ArgumentParser(
        prog="ts-kserve build",
        description=f"{__doc__}\n{description.__doc__}",
        formatter_class=argparse.RawDescriptionHelpFormatter,
        allow_abbrev=False,
    )
    made.add_argument("folder", nargs="+", type=Path, metavar="FOLDER", help="a model's folder, with mar.json in it")
    made.add_argument(
        "--out", type=Path, default=Path("model-store"), metavar="DIR", help="where archives go (default: %(default)s)"
    )
    made.add_argument("--version", help="instead of the version in mar.json")
    made.add_argument("--no-check", dest="check", action="store_false", help="do not load the archive to see it work")
    made.add_argument("--no-compile", dest="compile", action="store_false", help="do not compile the model ahead")
    made.add_argument(
        "--instructions",
        choices=(BASELINE, NATIVE),
        default=BASELINE,
        help="processors that it is compiled for: any with AVX2, or those like this machine's (default: %(default)s)",
    )
    return made
