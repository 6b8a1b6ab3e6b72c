"""Loads an archive as TorchServe's worker does: handler, envelope, context and metrics are the real ones."""

from __future__ import annotations

import base64
import gc
import json
import os
import sys
import time
import zipfile
from pathlib import Path
from typing import Any, Callable, Dict, List, Optional, Sequence

Batch = List[Dict[str, Any]]


def load(archive: Path, directory: Path, envelope: str = "kserve") -> Any:
    """The worker's Service of an archive unpacked into ``directory``."""
    with zipfile.ZipFile(archive) as file:
        file.extractall(directory)
    return load_folder(directory, envelope)


def load_folder(directory: Path, envelope: str = "kserve", gpu: Optional[int] = None) -> Any:
    """The worker's Service of an unpacked archive, on the GPU of that number or on the CPU."""
    import ts
    from ts.metrics.metric_cache_yaml_impl import MetricsCacheYamlImpl
    from ts.model_loader import ModelLoaderFactory

    # The archive's own copy of a package comes first, as in the worker.
    sys.path.insert(0, str(directory))
    os.chdir(directory)
    manifest = json.loads((directory / "MAR-INF" / "MANIFEST.json").read_text())
    metrics = MetricsCacheYamlImpl(str(Path(ts.__file__).parent / "configs" / "metrics.yaml"))
    metrics.initialize_cache()
    metrics.model_name = "mnist"
    loader = ModelLoaderFactory.get_model_loader()
    service = loader.load(
        "mnist", str(directory), manifest["model"]["handler"], gpu, 1, envelope, metrics_cache=metrics
    )
    service.set_cl_socket(None)
    return service


def loaded_handler() -> Any:
    """The handler object that ``load`` made; envelopes keep it out of sight, each in its own way."""
    from ts.torch_handler.base_handler import BaseHandler

    (handler,) = (one for one in gc.get_objects() if isinstance(one, BaseHandler))
    return handler


def request(images: Sequence[bytes], raw: bool, explain: bool = False) -> Batch:
    """One V1 request as TorchServe hands it to the service.

    Args:
        raw: as bytes, which a handler with the extension raw_body gets; else parsed, as TorchServe's worker does
            with application/json before its own clock starts.
    """
    return request_of([{"data": base64.b64encode(image).decode()} for image in images], raw, explain)


def request_of(instances: Sequence[Any], raw: bool, explain: bool = False, **more: Any) -> Batch:
    """As :func:`request`, of V1 instances of any kind; ``more`` stands beside them."""
    body: Any = json.dumps({"instances": instances, **more}).encode()
    kind = "application/octet-stream" if raw else "application/json"
    headers = [{"name": b"explain", "value": b"True" if explain else b"False"}]
    parameter = {"name": "body", "contentType": kind, "value": body}
    return [{"requestId": b"bench", "parameters": [parameter], "headers": headers}]


def parsed(batch: Batch) -> Batch:
    """The batch with JSON bodies parsed: part of the work where the worker does it."""
    for one in batch:
        for parameter in one["parameters"]:
            if parameter["contentType"] == "application/json":
                parameter["value"] = json.loads(parameter["value"])
    return batch


def rate(call: Callable[[], Any], seconds: float) -> float:
    """Calls per second over at least ``seconds`` and three calls."""
    calls, start = 0, time.perf_counter()
    while calls < 3 or time.perf_counter() - start < seconds:
        call()
        calls += 1
    return calls / (time.perf_counter() - start)
