"""Models that people serve, behind ours, TorchServe alone, the stock wrapper, mosec and LitServe: the same weights.

``prepare`` makes weights and archives; what lies there already is taken as it is.
"""

from __future__ import annotations

import argparse
import hashlib
import io
import json
import shutil
import sys
from dataclasses import dataclass
from functools import lru_cache, partial
from pathlib import Path
from typing import Any, Callable, Dict, List, Mapping, Optional, Sequence, Tuple, Union

import numpy as np
import torch
from PIL import Image

from benchmarks.cases import Case
from benchmarks.environments import ROOT
from benchmarks.payloads import grpc_raw_bytes, raw_image, v1, v1_texts, v2_binary_bytes
from benchmarks.processes import ProcessGroup
from benchmarks.servers import archives
from benchmarks.servers.base import Build, GrpcBuild, Server
from benchmarks.servers.ours import Ours
from benchmarks.servers.peers import LitServe, Peer
from benchmarks.servers.stock import StockParts, StockWrapper
from benchmarks.servers.strong_peers import Mosec
from benchmarks.servers.torchserve import QUEUE, TorchServe, model_ready
from benchmarks.servers.torchserve_config import java_home, properties
from benchmarks.servers.tuned import Tuned
from kserve_wrapper.core.sockets import free_port
from scripts import serving

SOURCES = ROOT / "model-archiver" / "model-store"
HERE = Path(__file__).parent
IMAGENET = ((0.485, 0.456, 0.406), (0.229, 0.224, 0.225))


@dataclass(frozen=True)
class Model:
    """A folder of the model store, and what it is asked.

    Attributes:
        pictures: kinds of content of its cases, see ``Case``.
        stock: TorchServe's handler, by name or file.
        batch: rows that TorchServe and the peers put into one batch: what our handler's own setting is.
        normalise: mean and deviation of the photographs' colours.
        random: whether its weights are made from a seed.
    """

    name: str
    pictures: Tuple[str, ...]
    stock: Union[str, Path]
    batch: int
    normalise: Tuple[Tuple[float, ...], Tuple[float, ...]] = IMAGENET
    random: bool = False

    @property
    def texts(self) -> bool:
        return self.pictures == ("texts",)


MODELS = {
    model.name: model
    for model in (
        Model(
            "efficientnet_lite0",
            ("1152x864", "224x224"),
            HERE / "lite0_stock.py",
            8,
            ((127 / 255,) * 3, (128 / 255,) * 3),
        ),
        Model("minilm", ("texts",), HERE / "minilm_stock.py", 32),
        Model("densenet_161", ("224x224",), "image_classifier", 4, random=True),
    )
}


def add_models_in(parser: argparse.ArgumentParser) -> None:
    """The flag that names where `prepare` puts its folders."""
    parser.add_argument(
        "--models-in",
        type=Path,
        metavar="DIR",
        default=ROOT / "build" / "benchmarks" / "models",
        help="weights and archives, made once: compiling takes minutes (default: build/benchmarks/models)",
    )


def prepare(model: Model, place: Path) -> Path:
    """The folder with the model's weights and archives, made where it is not there, or of other code, in minutes.

    Of a classifier's scores the photographs' mean is taken away, so that they are of several classes: they are drawn,
    and a network would give nearly the same one to all.
    """
    folder, made_of = place / model.name, _fingerprint(model)
    whole = folder / "made-of"
    if whole.exists() and whole.read_text() == made_of:
        return folder
    shutil.rmtree(folder, ignore_errors=True)
    archives.fetched(model.name, folder, model.random)
    if not model.texts:
        _spread(model, folder)
        # Classes are compared by number.
        names = {str(number): str(number) for number in range(1000)}
        (folder / model.name / "index_to_name.json").write_text(json.dumps(names))
    archives.packed(folder, model.name, folder / "ours")
    extras = [folder / model.name / name for name in ("vocab.txt", "wordpiece.py")] if model.texts else []
    archives.stock_model(folder / "stock", folder / model.name, model.stock, extras)
    whole.write_text(made_of)
    return folder


def _fingerprint(model: Model) -> str:
    """Of the code that goes into the archives."""
    found = hashlib.sha256()
    for top in (ROOT / "mnist_handler", SOURCES / model.name, HERE):
        for path in sorted(one for name in ("*.py", "*.yaml", "mar.json") for one in top.rglob(name)):
            if top != HERE or path.name.endswith("_stock.py"):
                found.update(str(path.relative_to(top)).encode() + path.read_bytes())
    return found.hexdigest()


def _spread(model: Model, folder: Path) -> None:
    network = _network(model, folder)
    weights = folder / model.name / f"{model.name}.pt"
    state = torch.load(weights, weights_only=True)
    (*_, last) = [name for name, layer in network.named_modules() if isinstance(layer, torch.nn.Linear)]
    state[f"{last}.bias"] -= mean_scores(model, network)
    torch.save(state, weights)
    _network.cache_clear()


def mean_scores(model: Model, network: torch.nn.Module) -> torch.Tensor:
    """[classes]: what a classifier gives to all photographs that are drawn; less that, they are of several classes."""
    pictures = [Case("base64", 1, 1, "224x224").images(index)[0] for index in range(8)]
    with torch.inference_mode():
        scores: torch.Tensor = network(torch.cat([rows(model, picture) for picture in pictures])).mean(0)
        return scores


@lru_cache(maxsize=4)
def _network(model: Model, folder: Path) -> torch.nn.Module:
    """Eager, in evaluation mode."""
    from benchmarks.peers.network import load_model

    return load_model(folder / model.name, model.name, f"{model.name}.pt")


def rows(model: Model, image: bytes) -> torch.Tensor:
    """[1, 3, 224, 224] of an encoded image, as torchvision's documentation prepares it."""
    from torchvision import transforms

    steps = [transforms.Resize(256), transforms.CenterCrop(224), transforms.ToTensor()]
    prepared = transforms.Compose([*steps, transforms.Normalize(*model.normalise)])
    with Image.open(io.BytesIO(image)) as opened:
        made: torch.Tensor = prepared(opened.convert("RGB"))[None]
    return made


@lru_cache(maxsize=256)
def _answer(model: Model, folder: Path, content: bytes) -> Any:
    network = _network(model, folder)
    with torch.inference_mode():
        if not model.texts:
            return int(network(rows(model, content)).argmax())
        sys.path.insert(0, str(folder / model.name))
        try:
            from wordpiece import WordPiece
        finally:
            sys.path.pop(0)
        words = (folder / model.name / "vocab.txt").read_text(encoding="utf-8").splitlines()
        ids = torch.tensor([WordPiece(words)(content.decode())])
        return network(ids, torch.ones_like(ids))[0].numpy()


def answers(model: Model, folder: Path, contents: Sequence[bytes]) -> np.ndarray[Any, Any]:
    """The network's own answers: classes int64 [rows], or vectors float32 [rows, 384]."""
    return np.stack([np.asarray(_answer(model, folder, content)) for content in contents])


class ServesModel(Server):
    """What ours and TorchServe have in common here."""

    def __init__(self, model: Model, folder: Path, **more: Any) -> None:
        super().__init__(**more)
        self.model, self.folder = model, folder

    def expected_answers(self, contents: Sequence[bytes]) -> np.ndarray[Any, Any]:
        return answers(self.model, self.folder, contents)

    def v1(self, contents: Sequence[bytes]) -> Any:
        path = f"/v1/models/{self.model.name}:predict"
        return v1_texts(path, contents) if self.model.texts else v1(path, contents)


class OursModel(ServesModel, Ours):
    """The documented configuration and the archive as ``ts-kserve build`` makes it."""

    def launch(self, directory: Path) -> None:
        store = self.folder / "ours"
        snapshot = properties(store, models=[self.model.name])["model_snapshot"]
        http, grpc = free_port(), free_port()
        self.http, self.grpc = f"127.0.0.1:{http}", f"127.0.0.1:{grpc}"
        flags = ["--http_port", str(http), "--grpc_port", str(grpc), *self.flags]
        command = serving.supervisor_command(store, {**serving.free_ports(), "model_snapshot": snapshot}, flags)
        environment: Dict[str, Optional[str]] = {"PYTHONPATH": str(ROOT), "JAVA_HOME": java_home()}
        self.groups = [ProcessGroup("supervisor", command, directory, environment)]

    def forms(self) -> Mapping[str, Build]:
        path, shape = f"/v2/models/{self.model.name}/infer", [] if self.model.texts else [1]
        return {"base64": self.v1, "v2-binary": partial(v2_binary_bytes, path, shape=shape)}

    def grpc_forms(self) -> Mapping[str, GrpcBuild]:
        return {"grpc-raw": lambda contents: grpc_raw_bytes(self.model.name, contents)}


class TorchServeModel(ServesModel, TorchServe):
    """TorchServe alone in its best light: no envelope, the content is the body, batching on."""

    envelope = None

    def settings(self, store: Path) -> Dict[str, str]:
        name, batch = self.model.name, self.model.batch
        return properties(self.folder / "stock", models=[name], queue=QUEUE, batchSize=batch, maxBatchDelay=2)

    def is_ready(self) -> bool:
        return model_ready(self.http, self.model.name)

    def forms(self) -> Mapping[str, Build]:
        return {"base64": lambda contents: raw_image(f"/predictions/{self.model.name}", contents)}


class StockModel(ServesModel, StockWrapper):
    """The stock runtime for V1, batchSize 1: its envelope answers no two requests of one batch."""

    def settings(self, store: Path) -> Dict[str, str]:
        return properties(self.folder / "stock", models=[self.model.name], queue=QUEUE)

    def forms(self) -> Mapping[str, Build]:
        return {"base64": self.v1}


def _peer(kind: Callable[[str, float], Peer], model: Model, folder: Path, window_ms: float) -> Peer:
    """A peer whose network is the model: texts eager, as their lengths vary."""
    peer = kind("eager" if model.texts else "frozen", window_ms)
    usual = peer.environment
    own = {"MODEL": model.name, "MODEL_DIRECTORY": str(folder / model.name), "BATCH": str(model.batch)}
    peer.environment = lambda **more: {**usual(**more), **own}  # type: ignore[method-assign]
    peer.expected_answers = lambda contents: answers(model, folder, contents)  # type: ignore[method-assign]
    peer.question = Case("base64", 1, 1, model.pictures[-1]).images()
    if model.texts:
        path = peer.forms()["base64"]([]).path
        peer.forms = lambda: {"base64": lambda texts: v1_texts(path, texts)}  # type: ignore[method-assign]
    return peer


NAMES = ("ours", "torchserve", "stock-v1", "mosec", "litserve")


def servers(
    model: Model,
    folder: Path,
    names: Sequence[str],
    windows_ms: Sequence[float],
    connections: Sequence[int],
    stock: Optional[StockParts],
) -> List[Server]:
    """Those of ``names``, in order, not started; the stock wrapper is left out where its parts are not given."""

    def peer(kind: Callable[[str, float], Peer]) -> Server:
        if len(windows_ms) == 1:
            return _peer(kind, model, folder, windows_ms[0])
        return Tuned(partial(_peer, kind, model, folder), windows_ms, connections, model.pictures[-1])

    makers: Dict[str, Callable[[], Server]] = {
        "ours": lambda: OursModel(model, folder),
        "torchserve": lambda: TorchServeModel(model, folder),
        "mosec": lambda: peer(Mosec),
        "litserve": lambda: peer(LitServe),
    }
    if stock is not None:
        makers["stock-v1"] = lambda: StockModel(model, folder, parts=stock)
    return [makers[name]() for name in names if name in makers]
