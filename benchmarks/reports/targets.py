"""The speed targets, and what a run measured for each."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, List, Mapping, Optional, Sequence, Tuple

from benchmarks.reports import markdown
from benchmarks.stats import Spread, paired_ratio

Key = Tuple[str, str, int, int]  # server, form, connections, rows a request


@dataclass(frozen=True)
class Target:
    """``ours`` over ``theirs`` in ``figure`` shall be at least ``least``; for times, ``theirs`` over ``ours``."""

    text: str
    ours: Key
    theirs: Sequence[Key]
    least: float
    figure: str = "requests_per_second"


ONE_64, ONE_1 = ("ours", "base64", 64, 1), ("ours", "base64", 1, 1)
PEERS = ("mlserver", "litserve", "bentoml")

TARGETS = [
    Target("V1 at 64 connections over TorchServe alone", ONE_64, [("torchserve", "base64", 64, 1)], 6),
    Target("V1 at 64 connections over the stock wrapper", ONE_64, [("stock-v1", "base64", 64, 1)], 12),
    Target("p50 at 1 connection, TorchServe alone over ours", ONE_1, [("torchserve", "base64", 1, 1)], 0.8, "p50_ms"),
    Target(
        "V2 FP32 JSON at 64 over the stock wrapper", ("ours", "v2-json", 64, 1), [("stock-v2", "v2-json", 64, 1)], 10
    ),
    Target("V2 binary over V2 JSON, both ours, at 64", ("ours", "v2-binary", 64, 1), [("ours", "v2-json", 64, 1)], 1.5),
    Target("the same with 64 rows a request, at 16", ("ours", "v2-binary", 16, 64), [("ours", "v2-json", 16, 64)], 1.5),
    Target("gRPC raw at 64 over the stock gRPC", ("ours", "grpc-raw", 64, 1), [("stock-v2", "grpc-typed", 64, 1)], 10),
    Target("V1 at 64 connections over mosec", ONE_64, [("mosec", "base64", 64, 1)], 2),
    Target("the same over mosec with our decode and forward inside", ONE_64, [("mosec-same", "base64", 64, 1)], 1),
    Target("V1 at 64 connections over Triton", ONE_64, [("triton", "base64", 64, 1)], 5),
    Target("V1 at 1 connection over mosec", ONE_1, [("mosec", "base64", 1, 1)], 1.8),
    Target("V1 at 1 connection over Triton", ONE_1, [("triton", "base64", 1, 1)], 1.8),
    Target("gRPC raw at 64 over Triton's", ("ours", "grpc-raw", 64, 1), [("triton", "grpc-raw", 64, 1)], 2),
    Target(
        "V1 at 64 connections over the best of MLServer, LitServe, BentoML",
        ONE_64,
        [(peer, "base64", 64, 1) for peer in PEERS],
        3,
    ),
    Target(
        "V1 at 1 connection over the best of MLServer, LitServe, BentoML",
        ONE_1,
        [(peer, "base64", 1, 1) for peer in PEERS],
        1,
    ),
    Target("explain at 64 over the stock wrapper", ("ours", "explain", 64, 1), [("stock-v1", "explain", 64, 1)], 6),
]


def measured(target: Target, runs: Sequence[Mapping[str, Any]]) -> Optional[Spread]:
    """The ratio, against the best of those that ``theirs`` names; None where one of the two was not measured."""
    ours = _figures(runs, target.ours, target.figure)
    others = [found for key in target.theirs if (found := _figures(runs, key, target.figure))]
    if not ours or not others:
        return None
    if target.figure.endswith("_ms"):
        return min((paired_ratio(other, ours) for other in others), key=lambda ratio: ratio.median)
    return min((paired_ratio(ours, other) for other in others), key=lambda ratio: ratio.median)


def targets(runs: Sequence[Mapping[str, Any]]) -> str:
    """The table of those targets that this run measured."""
    rows: List[List[str]] = []
    for target in TARGETS:
        ratio = measured(target, runs)
        if ratio is not None:
            met = "yes" if ratio.median >= target.least else "NO"
            rows.append([target.text, f"{target.least:g}x", f"{markdown.spread(ratio)}x", met])
    if not rows:
        return ""
    return "## Targets\n\n" + markdown.table(["what", "at least", "measured", "met"], rows) + "\n"


def _figures(runs: Sequence[Mapping[str, Any]], key: Key, figure: str) -> List[float]:
    for run in runs:
        if (run["server"], run["form"], run["connections"], run["rows"]) == key and not run["void"]:
            return [one[figure] for one in run["rounds"]]
    return []
