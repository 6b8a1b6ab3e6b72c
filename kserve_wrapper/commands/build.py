"""Pack models' folders into archives (MARs) with torch-model-archiver.

    ts-kserve build my_model --out model-store

FOLDER/mar.json says what goes into the archive:
"""

from __future__ import annotations

import argparse
import sys
from pathlib import Path
from typing import Optional, Sequence

from kserve_wrapper.archiver import BuildError, build, description


def main(arguments: Sequence[str]) -> int:
    """Entry point: 0, or 1 with the cause at standard error."""
    options = parser().parse_args(arguments)
    for folder in options.folder:
        if build_one(folder, options.out, options.version) is None:
            return 1
    return 0


def build_one(folder: Path, out: Path, version: Optional[str]) -> Optional[Path]:
    """The archive; None where it could not be built, which standard error has said."""
    try:
        path = build(folder, out, version)
    except (BuildError, OSError) as error:
        print(f"build: {error}", file=sys.stderr)
        return None
    print(f"{path} ({path.stat().st_size / 1024:.0f} KiB)")
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
    return made
