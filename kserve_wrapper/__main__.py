"""Runs the wrapper: ``python -m kserve_wrapper``, or this file as a script, as the stock image does."""

from __future__ import annotations

import os
import sys

if __package__ in (None, ""):
    # Run as a script, the first place for imports is this directory, whose types.py is not the standard library's.
    _here = os.path.dirname(os.path.abspath(__file__))
    sys.path[:] = [place for place in sys.path if os.path.abspath(place or ".") != _here]
    sys.path.insert(0, os.path.dirname(_here))

from kserve_wrapper.main import main

if __name__ == "__main__":
    sys.exit(main())
