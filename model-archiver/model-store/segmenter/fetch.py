#!/usr/bin/env python3
"""Make the segmenter's weights: at random from a fixed seed, no download.

    python model-archiver/model-store/segmenter/fetch.py

They have learned nothing. Every part of serving works with them, the answers mean nothing; for real ones, save the
state_dict of a trained network of this shape as segmenter.pt.
"""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Dict, Optional, Sequence

import torch

from kserve_wrapper.archiver import weights

HERE = Path(__file__).parent
SEED, SIDE = 5, 256


def state_dict() -> Dict[str, torch.Tensor]:
    """The weights of a network that has learned nothing, the same ones each time."""
    torch.manual_seed(SEED)
    model = weights.network(HERE / "segmenter.py", "Segmenter")
    weights.settle(model, SIDE)
    state: Dict[str, torch.Tensor] = model.state_dict()
    return state


def fetch(folder: Path, random_weights: bool) -> str:
    """Write segmenter.pt into ``folder``; nothing is downloaded either way."""
    weights.save(state_dict(), folder / "segmenter.pt")
    return str(folder / "segmenter.pt")


def main(arguments: Optional[Sequence[str]] = None) -> int:
    """Entry point: 0, or 1 with the cause on stderr."""
    return weights.main(__doc__, HERE, fetch, arguments)


if __name__ == "__main__":
    sys.exit(main())
