"""What no schema of Kubernetes refuses and what goes wrong on a cluster all the same."""

from __future__ import annotations

import re
from typing import Any, Dict, Iterable, Iterator, List, Mapping, Sequence, Set, Tuple

Object = Dict[str, Any]
RUNTIMES = ("ServingRuntime", "ClusterServingRuntime")
#: A tag after the last slash, or a digest.
_PINNED = re.compile(r"(:[A-Za-z0-9_][A-Za-z0-9_.-]{0,127}|@sha256:[0-9a-f]{64})$")


def images(value: Any, path: str = "$") -> Iterator[Tuple[str, str]]:
    """Path and name of every container's image, however deep."""
    items: Iterable[Tuple[Any, Any]] = ()
    if isinstance(value, dict):
        items = value.items()
        if isinstance(value.get("image"), str):
            yield f"{path}.image", value["image"]
    elif isinstance(value, list):
        items = enumerate(value)
    for key, item in items:
        yield from images(item, f"{path}[{key}]" if isinstance(value, list) else f"{path}.{key}")


def unpinned(manifest: Object) -> List[str]:
    """Images without a tag or a digest: each node would run whatever ``latest`` was when it pulled."""
    return [
        f"{path}: {name!r} has neither a tag nor a digest. Write {name}:VERSION"
        for path, name in images(manifest.get("spec"), "$.spec")
        if not _PINNED.search(name.rpartition("/")[2]) and not _PINNED.search(name)
    ]


def misnamed(manifest: Object) -> List[str]:
    """Images with capital letters before the tag, which registries refuse, and a tag that stands for one's own."""
    problems = []
    for path, name in images(manifest.get("spec"), "$.spec"):
        repository, _, tag = name.partition("@")[0].rpartition("/")[2].partition(":")
        place = name.rpartition("/")[0]
        if f"{place}{repository}" != f"{place}{repository}".lower():
            problems.append(
                f"{path}: {name!r} has capital letters, which registries refuse. Write your own image's name"
            )
        elif tag == "VERSION":
            problems.append(f"{path}: {name!r} has VERSION where a tag belongs. Write your image's tag")
    return problems


def formats(runtimes: Sequence[Object]) -> Dict[str, Set[str]]:
    """Model formats by runtime's name."""
    return {
        runtime["metadata"]["name"]: {item["name"] for item in runtime["spec"].get("supportedModelFormats", [])}
        for runtime in runtimes
    }


def unserved(manifest: Object, known: Mapping[str, Set[str]]) -> List[str]:
    """A model format that the runtime which the service names, or any runtime at all, does not serve."""
    model = manifest.get("spec", {}).get("predictor", {}).get("model", {})
    name = model.get("modelFormat", {}).get("name") if isinstance(model, dict) else None
    if manifest.get("kind") != "InferenceService" or name is None:
        return []
    runtime = model.get("runtime")
    served = known.get(runtime, set()) if runtime else set().union(*known.values())
    if runtime and runtime not in known:
        return [
            f"$.spec.predictor.model.runtime: there is no runtime {runtime!r} here. One of {', '.join(sorted(known))}"
        ]
    if name in served:
        return []
    which = f"runtime {runtime!r} does not serve" if runtime else "no runtime serves"
    path = "$.spec.predictor.model.modelFormat.name"
    return [f"{path}: {which} the model format {name!r}. One of {', '.join(sorted(served))}"]


def killed_while_draining(manifest: Object) -> List[str]:
    """A drain that is longer than the time until Kubernetes kills the pod (30 s unless it says otherwise).

    Where preStop or the drain's times stand in the runtime, the service itself does not show them: the check is of
    what one object says.
    """
    predictor = manifest.get("spec", {}).get("predictor", {})
    model = predictor.get("model", {}) if isinstance(predictor, dict) else {}
    if manifest.get("kind") != "InferenceService" or not isinstance(model, dict) or "lifecycle" not in model:
        return []
    needed, grace = drain_seconds(model), float(predictor.get("terminationGracePeriodSeconds", 30))
    if needed < grace:
        return []
    path = "$.spec.predictor.terminationGracePeriodSeconds"
    return [f"{path}: {grace:g} s are not more than preStop and drain take, {needed:g} s. Write {int(needed) + 5}"]


def drain_seconds(container: Mapping[str, Any]) -> float:
    """What a container's preStop, drain delay and drain timeout come to; the last is 25 s unless set."""
    env = {item["name"]: item.get("value", "0") for item in container.get("env", [])}
    sleep = container.get("lifecycle", {}).get("preStop", {}).get("sleep", {}).get("seconds", 0)
    delay = float(env.get("TS_KSERVE_DRAIN_DELAY", 0))
    return float(sleep) + delay + float(env.get("TS_KSERVE_DRAIN_TIMEOUT", 25))
