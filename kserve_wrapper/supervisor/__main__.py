"""Runs the supervisor: ``python -m kserve_wrapper.supervisor``."""

from __future__ import annotations

import sys

from kserve_wrapper.supervisor.main import main

if __name__ == "__main__":
    sys.exit(main())
