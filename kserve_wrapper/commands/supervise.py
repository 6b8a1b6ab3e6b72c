"""TorchServe and the wrapper as one, for containers: ``python -m kserve_wrapper.supervisor`` by another name."""

from __future__ import annotations

from typing import Sequence

from kserve_wrapper.supervisor import main as supervisor


def main(arguments: Sequence[str]) -> int:
    """Entry point; see ``--help``."""
    return supervisor.main(arguments)
