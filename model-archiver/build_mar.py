#!/usr/bin/env python3
"""Build the archive of a model of model-store/: `ts-kserve build` by the name of the model.

    python model-archiver/build_mar.py --model mnist --out build/model-store

`ts-kserve build --help` explains model-store/MODEL/mar.json, which says what goes into the archive.
"""

from __future__ import annotations

import argparse
import sys
from pathlib import Path

HERE = Path(__file__).resolve().parent
sys.path.insert(0, str(HERE.parent))

from kserve_wrapper.commands.main import main as ts_kserve  # noqa: E402


def main() -> int:
    """Entry point: 0, or 1 with the cause on stderr."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--model", default="mnist", help="a folder of the model store (default: %(default)s)")
    parser.add_argument("--out", required=True, metavar="DIR", help="where MODEL.mar goes; made if missing")
    parser.add_argument("--store", type=Path, default=HERE / "model-store", metavar="DIR", help="default: %(default)s")
    parser.add_argument("--version", help="instead of the version in mar.json")
    parser.add_argument("--no-check", action="store_true", help="do not load the archive to see it work")
    parser.add_argument("--no-compile", action="store_true", help="do not compile the model ahead")
    parser.add_argument("--instructions", help="processors that it is compiled for (default: any with AVX2)")
    options = parser.parse_args()
    more = ["--version", options.version] if options.version else []
    more += ["--no-check"] if options.no_check else []
    more += ["--no-compile"] if options.no_compile else []
    more += ["--instructions", options.instructions] if options.instructions else []
    return ts_kserve(["build", str(options.store / options.model), "--out", options.out, *more])


if __name__ == "__main__":
    sys.exit(main())
