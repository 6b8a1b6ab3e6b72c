"""What is served on the GPU: three models, each in folders as TorchServe unpacks archives, random where it says so."""

from __future__ import annotations

import base64
import json
import shutil
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Dict, List, Optional, Tuple

import torch
from torch import nn

from benchmarks.images import photograph, pngs
from benchmarks.servers.archives import MODEL

HERE = Path(__file__).with_name("archive")
STOCK_DIGITS = Path(__file__).parents[1] / "servers" / "stock_handler.py"
#: Rows whose scores are compared with the reference's.
CHECKED = 8


@dataclass(frozen=True)
class Model:
    """One model: its definition, its handlers, and a row's shape and type as it takes them."""

    definition: Path
    #: A trained state_dict; None: random, of a fixed seed.
    weights: Optional[Path]
    ours: Path
    #: A file, or the name of a handler that TorchServe brings.
    stock: str
    shape: Tuple[int, ...]
    dtype: torch.dtype = torch.float32


MODELS = {
    "mnist": Model(
        MODEL / "mnist.py", MODEL / "mnist_cnn.pt", HERE / "digit_handler.py", str(STOCK_DIGITS), (1, 28, 28)
    ),
    "resnet50": Model(HERE / "photo_model.py", None, HERE / "photo_handler.py", "image_classifier", (3, 224, 224)),
    "encoder": Model(
        HERE / "encoder_model.py",
        None,
        HERE / "encoder_handler.py",
        str(HERE / "encoder_stock.py"),
        (128,),
        torch.int64,
    ),
}


def instances(name: str, rows: int) -> List[Dict[str, Any]]:
    """V1 rows: a PNG of a digit, a JPEG of 224 pixels a side, 128 token ids; 32 different ones in turn."""
    if name == "mnist":
        return [{"data": base64.b64encode(png).decode()} for png in pngs(rows)]
    if name == "resnet50":
        distinct = [base64.b64encode(photograph(index, 224, 224)).decode() for index in range(min(rows, 32))]
        return [{"data": distinct[index % 32]} for index in range(rows)]
    return [{"data": ids} for ids in example(name, rows).tolist()]


def example(name: str, rows: int) -> torch.Tensor:
    """Rows as the model takes them, the same on every machine."""
    model = MODELS[name]
    source = torch.Generator().manual_seed(1)
    if model.dtype == torch.int64:
        return torch.randint(0, 30522, (rows, *model.shape), generator=source)
    return torch.randn((rows, *model.shape), generator=source)


def build(name: str) -> nn.Module:
    """The model in evaluation mode on the CPU, with its weights."""
    from mnist_handler.compute.loading import build_model

    model = MODELS[name]
    torch.manual_seed(0)
    network = build_model(model.definition).eval()
    if model.weights is not None:
        network.load_state_dict(torch.load(model.weights, weights_only=True))
    return network


def prepare(name: str, place: Path) -> None:
    """Writes the weights and the reference (the scores of :data:`CHECKED` rows in float32 on the CPU) to ``place``."""
    network = build(name)
    torch.save(network.state_dict(), place / f"{name}.weights.pt")
    rows = example(name, CHECKED)
    with torch.no_grad():
        torch.save({"rows": rows, "scores": network(rows)}, place / f"{name}.reference.pt")


class InType(nn.Module):
    """A model with weights of another type: float32 (or token ids) in, float32 out."""

    def __init__(self, network: nn.Module, dtype: torch.dtype) -> None:
        super().__init__()
        self.network = network.to(dtype)
        self.dtype = dtype

    def forward(self, rows: torch.Tensor) -> torch.Tensor:
        scores: torch.Tensor = self.network(rows.to(self.dtype) if rows.is_floating_point() else rows)
        return scores.float()


def package(name: str, precision: str, device: str, target: Path) -> None:
    """Compiles the model with AOTInductor for batches of any size, ahead of time, into the file ``target``."""
    network = build(name).to(device)
    if len(MODELS[name].shape) == 3:
        network = network.to(memory_format=torch.channels_last)  # type: ignore[call-overload]
    # Layers as operators that can be fused, not the one opaque operator of the fast path.
    torch.backends.mha.set_fastpath_enabled(False)
    dtype = {"fp32": torch.float32, "bf16": torch.bfloat16}[precision]
    rows = torch.export.Dim("rows", min=1, max=4096)
    with torch.no_grad():
        exported = torch.export.export(
            InType(network, dtype).eval(), (example(name, 2).to(device),), dynamic_shapes=({0: rows},), strict=False
        )
        torch._inductor.aoti_compile_and_package(exported, package_path=str(target))


def folder(name: str, setting: Dict[str, Any], place: Path, target: Path) -> Path:
    """An unpacked archive in ``target``.

    Args:
        setting: ``handler`` (ours, stock), and for ours ``config`` (its section of model-config.yaml) and ``package``
            (the file of :func:`package`, or None).
        place: where :func:`prepare` wrote the weights.
    """
    model = MODELS[name]
    (target / "MAR-INF").mkdir(parents=True)
    handler = model.stock if setting["handler"] == "stock" else str(model.ours)
    if handler.endswith(".py"):
        shutil.copy(handler, target)
    entry: Dict[str, Any] = {"modelName": name, "handler": Path(handler).name, "modelVersion": "1.0"}
    if setting.get("package"):
        shutil.copy(HERE / "packaged.py", target)
        shutil.copy(place / setting["package"], target / "model.pt2")
        entry["modelFile"] = "packaged.py"
    else:
        shutil.copy(model.definition, target)
        shutil.copy(place / f"{name}.weights.pt", target / "weights.pt")
        entry.update(modelFile=model.definition.name, serializedFile="weights.pt")
    if setting.get("config"):
        (target / "model-config.yaml").write_text(json.dumps({"handler": setting["config"]}))
        entry["configFile"] = "model-config.yaml"
    (target / "MAR-INF" / "MANIFEST.json").write_text(json.dumps({"model": entry}))
    return target
