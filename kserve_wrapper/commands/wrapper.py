"""The wrapper alone, in front of a TorchServe that runs: ``python -m kserve_wrapper`` by another name."""

from __future__ import annotations

from typing import Sequence

from kserve_wrapper import main as server


def main(arguments: Sequence[str]) -> int:
    """Entry point; see ``--help``."""
    return server.main(arguments)
