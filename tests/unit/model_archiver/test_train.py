"""train.py on a handful of made-up digits, in the published files' format."""

from __future__ import annotations

import gzip
import struct
import subprocess
import sys
from pathlib import Path

import numpy as np
import torch


def write_digits(folder: Path, packed: bool) -> None:
    """Forty training and twenty test images of noise."""
    random = np.random.RandomState(0)
    folder.mkdir(parents=True)
    for name, n in (("train", 40), ("t10k", 20)):
        images = struct.pack(">4i", 2051, n, 28, 28) + random.bytes(n * 784)
        labels = struct.pack(">2i", 2049, n) + bytes(random.randint(0, 10, n).tolist())
        for kind, content in (("images-idx3", images), ("labels-idx1", labels)):
            file = folder / f"{name}-{kind}-ubyte"
            if packed:
                file.with_name(file.name + ".gz").write_bytes(gzip.compress(content))
            else:
                file.write_bytes(content)


def train(root: Path, data: Path, out: Path) -> subprocess.CompletedProcess[str]:
    script = root / "model-archiver" / "model-store" / "mnist" / "train.py"
    command = [sys.executable, str(script), "--data", str(data), "--out", str(out)]
    command += ["--epochs", "2", "--batch", "16", "--threads", "1"]
    return subprocess.run(command, capture_output=True, text=True, check=False)


def test_trains_repeatably(root: Path, tmp_path: Path) -> None:
    """Gzipped in torchvision's folders or plain in one: the same data and seed give the same weights."""
    write_digits(tmp_path / "0" / "MNIST" / "raw", packed=True)
    write_digits(tmp_path / "1", packed=False)
    before = sorted(tmp_path.rglob("*"))
    runs = [train(root, tmp_path / str(n), tmp_path / f"{n}.pt") for n in range(2)]
    assert [run.returncode for run in runs] == [0, 0], runs[0].stderr
    assert "20 test images" in runs[0].stdout
    first, second = (torch.load(tmp_path / f"{n}.pt", weights_only=True) for n in range(2))
    assert first.keys() == second.keys()
    assert all(torch.equal(first[name], second[name]) for name in first)
    after = sorted(file for file in tmp_path.rglob("*") if file.suffix != ".pt")
    assert after == before, "the data folder may be read-only"


def test_broken_files_are_named(root: Path, tmp_path: Path) -> None:
    write_digits(tmp_path / "data", packed=False)
    (tmp_path / "data" / "train-labels-idx1-ubyte").write_bytes(b"junk that is no index file")
    done = train(root, tmp_path / "data", tmp_path / "out.pt")
    assert done.returncode == 1
    assert f"the MNIST files in {tmp_path / 'data'} are damaged" in done.stderr
    assert not (tmp_path / "out.pt").exists()
