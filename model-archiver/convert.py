#!/usr/bin/env python3
"""Turn images into a request's JSON body: `ts-kserve convert` by the path that the walk-through has.

python model-archiver/convert.py v1 digit.png > request.json
"""

from __future__ import annotations

import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

from kserve_wrapper.commands.main import main

if __name__ == "__main__":
    sys.exit(main(["convert", *sys.argv[1:]]))
