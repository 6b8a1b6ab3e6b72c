#!/usr/bin/env python3
"""Get what the DenseNet-161 archive needs beside the code: the weights and the class names.

    python model-archiver/model-store/densenet_161/fetch.py

Downloads torchvision's ImageNet weights (110 MB). Without internet, --random-weights makes some of the same shape from
a fixed seed: every part of serving works with them, the answers mean nothing.
"""

from __future__ import annotations

import json
import sys
from pathlib import Path
from typing import Dict, Optional, Sequence
from urllib.error import URLError

import torch
from torchvision.models import DenseNet161_Weights, densenet161

from kserve_wrapper.archiver import weights

HERE = Path(__file__).parent
SEED = 161
WEIGHTS = DenseNet161_Weights.IMAGENET1K_V1


def class_names() -> Dict[str, str]:
    """ImageNet's class names by index, as TorchServe's index_to_name.json has them."""
    return {str(index): name for index, name in enumerate(WEIGHTS.meta["categories"])}


def state_dict(random_weights: bool) -> Dict[str, torch.Tensor]:
    """The weights, under the names that today's torchvision gives them."""
    if random_weights:
        torch.manual_seed(SEED)
    try:
        model = densenet161(weights=None if random_weights else WEIGHTS, progress=True)
    except URLError as error:
        raise weights.FetchError(f"no download ({error.reason})") from error
    state: Dict[str, torch.Tensor] = model.state_dict()
    return state


def fetch(folder: Path, random_weights: bool) -> str:
    """Write densenet_161.pt and index_to_name.json into ``folder``."""
    weights.save(state_dict(random_weights), folder / "densenet_161.pt")
    (folder / "index_to_name.json").write_text(json.dumps(class_names(), indent=1) + "\n", encoding="utf-8")
    return f"{folder / 'densenet_161.pt'}, {folder / 'index_to_name.json'}"


def main(arguments: Optional[Sequence[str]] = None) -> int:
    """Entry point: 0, or 1 with the cause on stderr."""
    return weights.main(__doc__, HERE, fetch, arguments)


if __name__ == "__main__":
    sys.exit(main())
