#!/usr/bin/env python3
"""Make the detector's weights: at random from a fixed seed, no download.

    python model-archiver/model-store/detector/fetch.py

They have learned nothing. Every part of serving works with them, the answers mean nothing; for real ones, save the
state_dict of a trained network of this shape as detector.pt.
"""

from __future__ import annotations

import argparse
import importlib.util
import os
import sys
from pathlib import Path
from typing import Dict, Optional, Sequence

import torch
from torch import nn

SEED = 5


def state_dict() -> Dict[str, torch.Tensor]:
    """The weights of a network that has learned nothing, the same ones each time.

    Its BatchNorm has seen some coloured noise: else every picture would look the same to so many layers.
    """
    torch.manual_seed(SEED)
    specification = importlib.util.spec_from_file_location("detector_model", Path(__file__).with_name("detector.py"))
    if specification is None or specification.loader is None:
        raise FileNotFoundError("detector.py")
    module = importlib.util.module_from_spec(specification)
    specification.loader.exec_module(module)
    model: nn.Module = module.Detector()
    norms = [one for one in model.eval().modules() if isinstance(one, nn.BatchNorm2d)]
    for norm in norms:
        norm.reset_running_stats()
        norm.momentum = None  # the mean of what it sees
        norm.train()
    with torch.no_grad():
        for _ in range(2):
            noise = nn.functional.interpolate(torch.rand(4, 3, 10, 10), size=(320, 320), mode="bilinear")
            model(noise)
    state: Dict[str, torch.Tensor] = model.state_dict()
    return state


def main(arguments: Optional[Sequence[str]] = None) -> int:
    """Entry point: 0 once detector.pt is written."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--random-weights", action="store_true", help="changes nothing: nothing is downloaded")
    parser.add_argument("--out", type=Path, default=Path(__file__).parent, metavar="DIR", help="default: %(default)s")
    options = parser.parse_args(arguments)
    options.out.mkdir(parents=True, exist_ok=True)
    part = options.out / "detector.pt.part"
    torch.save(state_dict(), part)
    os.replace(part, options.out / "detector.pt")
    print(options.out / "detector.pt")
    return 0


if __name__ == "__main__":
    sys.exit(main())
