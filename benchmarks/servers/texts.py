"""Our server of sentence embeddings: texts of unequal lengths through MiniLM."""

from __future__ import annotations

import importlib.util
import shutil
from functools import lru_cache
from pathlib import Path
from typing import Any, List, Mapping, Sequence

import torch

from benchmarks.payloads import v1_texts
from benchmarks.servers import archives
from benchmarks.servers.base import Build, GrpcBuild
from benchmarks.servers.ours import Ours

MODEL = "minilm"


def prepare(place: Path, random_weights: bool) -> Path:
    """The model's folder with its weights, and its archive beside it, once a run."""
    folder = archives.fetched(MODEL, place, random_weights)
    archives.build(folder, place / "archive")
    return folder


class OursTexts(Ours):
    """The documented configuration and the handler's defaults.

    Args:
        folder: what ``prepare`` made.
        flags: of the wrapper.
    """

    def __init__(self, folder: Path, flags: Sequence[str] = ()) -> None:
        Ours.__init__(self, flags=flags)
        self.folder = folder

    def launch(self, directory: Path) -> None:
        store = directory / "model-store"
        store.mkdir(parents=True)
        shutil.copy(self.folder.parents[1] / "archive" / f"{MODEL}.mar", store)
        self.serve(store, MODEL, directory)

    def forms(self) -> Mapping[str, Build]:
        return {"v1-text": lambda texts: v1_texts(f"/v1/models/{MODEL}:predict", texts)}

    def grpc_forms(self) -> Mapping[str, GrpcBuild]:
        return {}

    def expected_vectors(self, texts: Sequence[bytes]) -> List[List[float]]:
        return [_vector(self.folder, text.decode()) for text in texts]


@lru_cache(maxsize=256)
def _vector(folder: Path, text: str) -> List[float]:
    """The network's own, eager, of one text alone."""
    tokenizer, network = _network(folder)
    ids = torch.tensor([tokenizer(text)])
    with torch.inference_mode():
        vector: List[float] = network(ids, torch.ones_like(ids))[0].tolist()
    return vector


@lru_cache(maxsize=1)
def _network(folder: Path) -> Any:
    network = _module(folder / "minilm.py").MiniLM().eval()
    network.load_state_dict(torch.load(folder / "minilm.pt", weights_only=True))
    words = (folder / "vocab.txt").read_text(encoding="utf-8").splitlines()
    return _module(folder / "wordpiece.py").WordPiece(words), network


def _module(path: Path) -> Any:
    spec = importlib.util.spec_from_file_location(f"texts_{path.stem}", path)
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module
