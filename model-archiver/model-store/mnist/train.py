#!/usr/bin/env python3
"""Train the digit classifier of mnist.py and write its weights.

    python model-archiver/model-store/mnist/train.py --data DIR

DIR holds the MNIST files (gzipped or not, in DIR, DIR/raw or DIR/MNIST/raw); what is missing is downloaded to DIR.
"""

from __future__ import annotations

import argparse
import gzip
import shutil
import sys
import tempfile
import zlib
from pathlib import Path
from typing import Iterable, Iterator, List, Optional, Sequence, Tuple

import torch
from mnist import MNISTClassifier
from torch import nn
from torch.nn import functional
from torchvision.datasets import MNIST

HERE = Path(__file__).resolve().parent
MEAN, DEVIATION = 0.1307, 0.3081
#: Labelled images: uint8 [n, 28, 28] and int64 [n].
Digits = Tuple[torch.Tensor, torch.Tensor]


def progress(batches: Iterable[torch.Tensor], total: int, title: str) -> Iterator[torch.Tensor]:
    """Pass the batches on under a progress bar, or under plain lines where tqdm is not installed."""
    try:
        from tqdm import tqdm
    except ImportError:
        print(title, flush=True)
        yield from batches
        return
    yield from tqdm(batches, total=total, desc=title, mininterval=1.0)


def find_files(data: Path) -> Optional[Path]:
    """The folder that holds all four MNIST files, gzipped or not; None when there is none."""
    names = [Path(url).stem for url, _ in MNIST.resources]
    for folder in (data, data / "raw", data / "MNIST" / "raw"):
        if all((folder / name).is_file() or (folder / f"{name}.gz").is_file() for name in names):
            return folder
    return None


def unpack(source: Path, target: Path) -> None:
    """Copy the MNIST files to where torchvision reads them, unzipped: ``source`` may be read-only."""
    target.mkdir(parents=True)
    for name in (Path(url).stem for url, _ in MNIST.resources):
        if (source / name).is_file():
            shutil.copy(source / name, target / name)
        else:
            with gzip.open(source / f"{name}.gz") as packed, open(target / name, "wb") as plain:
                shutil.copyfileobj(packed, plain)


def load_digits(data: Path) -> Tuple[Digits, Digits]:
    """The 60,000 training and the 10,000 test images.

    Raises:
        SystemExit: the files are neither in ``data`` nor to be had from the internet.
    """
    found = find_files(data)
    with tempfile.TemporaryDirectory() as scratch:
        root = data if found is None else Path(scratch)
        try:
            if found is not None:
                unpack(found, root / "MNIST" / "raw")
            sets = [MNIST(str(root), train=train, download=found is None) for train in (True, False)]
        except (OSError, EOFError, RuntimeError, ValueError, LookupError, AssertionError, zlib.error) as error:
            cause = f"the MNIST files in {found} are damaged" if found else f"no MNIST files in {data}, nor to download"
            raise SystemExit(
                f"train.py: {cause} ({error!r})\n"
                "Put the four files (train-images-idx3-ubyte.gz, …) into one folder and pass it as --data."
            ) from error
        return (sets[0].data, sets[0].targets), (sets[1].data, sets[1].targets)


def normalise(images: torch.Tensor) -> torch.Tensor:
    """uint8 [n, 28, 28] to the model's input, float [n, 1, 28, 28]."""
    return (images.unsqueeze(1).float() / 255 - MEAN) / DEVIATION


def augment(images: torch.Tensor) -> torch.Tensor:
    """Each image a little turned, slanted, scaled and moved. [n, 1, 28, 28], normalised, to the same."""
    n = len(images)
    angle, slant = (torch.rand(2, n) - 0.5) * 0.4  # radians: ±11°
    scale = 1 + (torch.rand(2, n) - 0.5) * 0.25
    move = (torch.rand(2, n) - 0.5) * (4 / 14)  # of half the width: ±2 pixels
    cosine, sine = angle.cos(), angle.sin()
    rows = [
        torch.stack([cosine * scale[0], (slant - sine) * scale[0], move[0]], dim=1),
        torch.stack([sine * scale[1], cosine * scale[1], move[1]], dim=1),
    ]
    grid = functional.affine_grid(torch.stack(rows, dim=1), list(images.shape), align_corners=False)
    # Zeros pad what comes in from outside: let zero be the background meanwhile.
    background = -MEAN / DEVIATION
    return functional.grid_sample(images - background, grid, align_corners=False) + background


def fit(model: nn.Module, digits: Digits, epochs: int, batch: int, peak: float) -> None:
    """Train in place: AdamW under a one-cycle learning rate that peaks at ``peak``."""
    images, labels = normalise(digits[0]).contiguous(memory_format=torch.channels_last), digits[1]
    optimizer = torch.optim.AdamW(model.parameters(), lr=peak, weight_decay=0.02)
    steps = (len(images) + batch - 1) // batch
    schedule = torch.optim.lr_scheduler.OneCycleLR(optimizer, peak, total_steps=steps * epochs)
    for epoch in range(1, epochs + 1):
        model.train()
        order = torch.randperm(len(images)).split(batch)
        for chosen in progress(order, steps, f"epoch {epoch}/{epochs}"):
            logits = model(augment(images[chosen]))
            loss = functional.cross_entropy(logits, labels[chosen], label_smoothing=0.05)
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()
            schedule.step()
        print(f"epoch {epoch}/{epochs}: loss of the last batch {loss.item():.4f}", flush=True)


def accuracy(model: nn.Module, digits: Digits) -> float:
    """The share of images that the model names right."""
    model.eval()
    right = 0
    with torch.inference_mode():
        for images, labels in zip(digits[0].split(1000), digits[1].split(1000)):
            right += int((model(normalise(images)).argmax(dim=1) == labels).sum())
    return right / len(digits[1])


def parse(arguments: Optional[Sequence[str]]) -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", type=Path, required=True, help="folder of the MNIST files")
    parser.add_argument("--out", type=Path, default=HERE / "mnist_cnn.pt", help="weights (default: %(default)s)")
    parser.add_argument("--epochs", type=int, default=30, help="default: %(default)s")
    parser.add_argument("--batch", type=int, default=256, help="images a step (default: %(default)s)")
    parser.add_argument("--peak", type=float, default=0.01, help="highest learning rate (default: %(default)s)")
    parser.add_argument("--seed", type=int, default=1, help="default: %(default)s")
    parser.add_argument("--threads", type=int, default=2, help="CPU threads (default: %(default)s)")
    parser.add_argument(
        "--hold-out",
        type=int,
        default=0,
        metavar="N",
        help="measure on the last N training images instead of the test images: to choose settings by",
    )
    return parser.parse_args(arguments)


def main(arguments: Optional[Sequence[str]] = None) -> int:
    options = parse(arguments)
    torch.set_num_threads(options.threads)
    torch.manual_seed(options.seed)
    training, test = load_digits(options.data)
    judged: List[Tuple[str, Digits]] = [("test", test)]
    if options.hold_out:
        images, labels = training
        judged = [("held-out training", (images[-options.hold_out :], labels[-options.hold_out :]))]
        training = images[: -options.hold_out], labels[: -options.hold_out]
    model = MNISTClassifier().to(memory_format=torch.channels_last)
    fit(model, training, options.epochs, options.batch, options.peak)
    weights = {name: tensor.contiguous() for name, tensor in model.state_dict().items()}
    torch.save(weights, options.out)
    for name, digits in judged:
        print(f"{accuracy(model, digits):.2%} of the {len(digits[1]):,} {name} images right; {options.out}")
    return 0


if __name__ == "__main__":
    sys.exit(main())
