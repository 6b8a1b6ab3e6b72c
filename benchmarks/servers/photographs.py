"""The servers of photographs: a network of ResNet-18's shape behind ours, TorchServe alone, mosec and LitServe.

``prepare`` makes its weights (random, of a fixed seed) once a run; all serve the same file.
"""

from __future__ import annotations

import io
import shutil
from functools import lru_cache
from pathlib import Path
from typing import Callable, Dict, List, Mapping, Sequence

import torch
from PIL import Image

from benchmarks.images import photograph
from benchmarks.payloads import raw_image, v1, v2_binary_bytes, v2_bytes
from benchmarks.servers import archives
from benchmarks.servers.base import Build, GrpcBuild, Server
from benchmarks.servers.ours import Ours
from benchmarks.servers.peers import LitServe, Peer
from benchmarks.servers.strong_peers import Mosec
from benchmarks.servers.torchserve import QUEUE, TorchServe, model_ready
from benchmarks.servers.torchserve_config import properties

MODEL = "photographs"


def prepare(place: Path) -> None:
    """Writes the network's definition and weights to ``place``.

    Of its scores the photographs' mean is taken away, so that they are of several classes: random weights alone give
    nearly the same one to all.
    """
    from torchvision.models import resnet18

    torch.manual_seed(0)
    network = resnet18(weights=None).eval()
    with torch.no_grad():
        pictures = [_rows(photograph(index, 224, 224)) for index in range(8)]
        network.fc.bias -= network(torch.cat(pictures)).mean(0)
    torch.save(network.state_dict(), place / f"{MODEL}.pt")
    shutil.copy(archives.PHOTOGRAPH_MODEL, place)


class Photographs(Server):
    """What the servers of photographs have in common."""

    place: Path

    def expected_classes(self, images: Sequence[bytes]) -> List[int]:
        return classes(self.place, images)


@lru_cache(maxsize=1)
def _network(weights: Path) -> torch.nn.Module:
    from torchvision.models import resnet18

    network: torch.nn.Module = resnet18(weights=None).eval()
    network.load_state_dict(torch.load(weights, weights_only=True))
    return network


def classes(place: Path, images: Sequence[bytes]) -> List[int]:
    """The network's own classes of encoded images, eager, prepared as torchvision does."""
    return [_class(place / f"{MODEL}.pt", image) for image in images]


def _rows(image: bytes) -> torch.Tensor:
    """[1, 3, 224, 224] of an encoded image, as torchvision's documentation prepares it."""
    from torchvision import transforms

    normalise = transforms.Normalize((0.485, 0.456, 0.406), (0.229, 0.224, 0.225))
    prepared = transforms.Compose(
        [transforms.Resize(256), transforms.CenterCrop(224), transforms.ToTensor(), normalise]
    )
    with Image.open(io.BytesIO(image)) as opened:
        rows: torch.Tensor = prepared(opened.convert("RGB"))[None]
    return rows


@lru_cache(maxsize=64)
def _class(weights: Path, image: bytes) -> int:
    with torch.inference_mode():
        return int(_network(weights)(_rows(image)).argmax())


class OursPhotographs(Photographs, Ours):
    """The documented configuration and the handler's defaults."""

    def __init__(self, place: Path) -> None:
        Ours.__init__(self)
        self.place = place

    def launch(self, directory: Path) -> None:
        store = directory / "model-store"
        archives.photographs(store, self.place, ours=True)
        self.serve(store, MODEL, directory)

    def forms(self) -> Mapping[str, Build]:
        two = f"/v2/models/{MODEL}/infer"
        return {
            "base64": lambda images: v1(f"/v1/models/{MODEL}:predict", images),
            "v2-bytes": lambda images: v2_bytes(two, images),
            "v2-binary": lambda images: v2_binary_bytes(two, images),
        }

    def grpc_forms(self) -> Mapping[str, GrpcBuild]:
        return {}


class TorchServePhotographs(Photographs, TorchServe):
    """TorchServe's stock image_classifier in its best light: the file is the body, batchSize 8."""

    envelope = None

    def __init__(self, place: Path) -> None:
        TorchServe.__init__(self)
        self.place = place

    def settings(self, store: Path) -> Dict[str, str]:
        archives.photographs(store, self.place, ours=False)
        return properties(store, models=[MODEL], queue=QUEUE, batchSize=8, maxBatchDelay=2)

    def is_ready(self) -> bool:
        return model_ready(self.http, MODEL)

    def forms(self) -> Mapping[str, Build]:
        return {"base64": lambda images: raw_image(f"/predictions/{MODEL}", images)}


def _peer(kind: Callable[[str, float], Peer], place: Path, window_ms: float) -> Peer:
    """A peer whose network is that for photographs."""
    peer = kind("frozen", window_ms)
    usual = peer.environment
    own = {"MODEL": MODEL, "MODEL_DIRECTORY": str(place)}
    peer.environment = lambda **more: {**usual(**more), **own}  # type: ignore[method-assign]
    peer.expected_classes = lambda images: classes(place, images)  # type: ignore[method-assign]
    return peer


def servers(place: Path, names: Sequence[str], window_ms: float) -> List[Server]:
    """Those of ``names``, in order; not started."""
    makers: Dict[str, Callable[[], Server]] = {
        "ours": lambda: OursPhotographs(place),
        "torchserve": lambda: TorchServePhotographs(place),
        "mosec": lambda: _peer(Mosec, place, window_ms),
        "litserve": lambda: _peer(LitServe, place, window_ms),
    }
    return [makers[name]() for name in names]


NAMES = ("ours", "torchserve", "mosec", "litserve")
