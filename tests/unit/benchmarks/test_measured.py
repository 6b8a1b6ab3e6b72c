"""Parts of docs/scaling.md that come from results: the newest is taken; pods of many cores are counted right."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any, Dict

import pytest
from hypothesis import given
from hypothesis import strategies as st

from benchmarks import machine
from benchmarks.measured import PLANNED, cores, newest, parts, settings
from benchmarks.reports.rpc import report as rpc_report

COSTS = st.floats(1, 1e6)


def put(where: Path, name: str, **result: Any) -> None:
    (where / f"{name}.json").write_text(json.dumps({"machine": machine.describe(), **result}))


def test_the_newest_result_that_fits_is_taken(tmp_path: Path) -> None:
    for day in (24, 26, 25):
        put(tmp_path, f"pod-202611{day}-000000", pods=[], day=day)
    found = newest("pod", tmp_path)
    assert found is not None
    assert (found["day"], found["report"]) == (26, "../benchmarks/results/pod-20261126-000000.md")
    earlier = newest("pod", tmp_path, lambda result: result["day"] < 26)
    assert earlier is not None
    assert earlier["day"] == 25
    assert newest("decoding", tmp_path) is None


def test_what_was_not_measured_names_its_command(tmp_path: Path) -> None:
    told = parts(tmp_path)
    assert all(text.startswith("Not measured yet: `python -m benchmarks ") for text in told.values())


@given(st.tuples(COSTS, COSTS, COSTS), st.sampled_from([2, 4, 8, 16, 64]))
def test_a_pods_processes_hold_its_rate(costs: Any, cpus: int) -> None:
    budget = dict(zip(("wrapper", "torchserve", "worker"), costs))
    servers, workers, rate = settings(budget, cpus)
    assert rate * sum(costs) / 1e6 == pytest.approx(PLANNED * cpus)
    # Each kind has the cores that its share asks for, but a twentieth; workers leave one to the rest.
    assert servers + 0.05 >= rate * costs[0] / 1e6 / PLANNED - 1e-6
    assert workers + 0.05 >= min(cpus - 1, rate * costs[2] / 1e6 / PLANNED) - 1e-6
    assert servers >= 1
    assert 1 <= workers <= cpus - 1


def test_pods_of_many_cores_are_extrapolated_from_the_profile(tmp_path: Path) -> None:
    spent = {"wrapper": 40.0, "torchserve": 10.0, "worker": 50.0}
    stages = {"event loop, sockets": 0.5, "batcher": 0.1, "upstream client": 0.05, "HTTP server": 0.35}
    put(
        tmp_path,
        "profile-20261126-000000",
        connections=64,
        rounds=[{"processes": spent}],
        functions={"wrapper": stages},
    )
    run = {"server": "ours", "form": "base64", "connections": 16, "void": False, "pictures": "texts"}
    costs = {"wrapper": 0.1, "torchserve": 0.1, "worker": 9.8}
    model = {"model": "minilm", "runs": [{**run, "rounds": [{"cpu_s_per_1000": costs}]}]}
    put(tmp_path, "models-20261126-000000", models=[model])
    text = cores(tmp_path)
    assert "batcher and upstream client take 15%" in text
    assert "| mnist, 64 connections | 40.0 + 10.0 + 50.0 | 2, 2: 32,000/s | 4, 4: 64,000/s | 7, 8: 128,000/s |" in text
    assert "| minilm, texts, 16 connections | 100 + 100 + 9,800 | 1, 3: 320/s | 1, 7: 640/s | 1, 15: 1,280/s |" in text


def test_grpc_is_told_by_rest(tmp_path: Path) -> None:
    def run(server: str, form: str, cost: float) -> Dict[str, Any]:
        one = {"cpu_s_per_1000": {"wrapper": cost}, "requests_per_second": 1.0, "p50_ms": 1.0}
        return {"server": server, "form": form, "rows": 1, "connections": 64, "void": False, "rounds": [one]}

    runs = [run("ours", "v2-binary", 0.1), run("ours", "grpc-raw", 0.3), run("aio", "grpc-raw", 0.15)]
    text = rpc_report({"machine": machine.describe(), "runs": runs}, tmp_path / "x.md")
    assert "| ours | 64 | 3.00x |" in text
    assert "| aio | 64 | 1.50x |" in text


def test_of_decoding_full_batches_are_told_and_of_gaps_the_documented_one(tmp_path: Path) -> None:
    kind = {"width": 1152, "height": 864, "format": "JPEG", "threads": 2, "off": 0.5}
    entries = [{**kind, "rows": rows, "gap": gap, "ms": 4.0 + gap} for rows in (1, 8) for gap in (0.0, 1.5, 2.0)]
    put(tmp_path, "decoding-20261126-000000", entries=entries)
    lines = [line for line in parts(tmp_path)["decoding"].splitlines() if line.startswith("| 1152x864")]
    assert lines == [
        "| 1152x864 | JPEG | 8 | 2 |  | 4.00 | 0.50 |",
        "| 1152x864 | JPEG | 8 | 2 | 2 | 6.00 | 0.50 |",
    ]


def test_pods_apart_and_together_both_stand_there(tmp_path: Path) -> None:
    needs = {"ready_s": 9.0, "resident_mib": 600.0, "most_mib": 700.0, "kills": 0, "runs": []}
    put(tmp_path, "pod-20261126-000000", pods=[{**needs, "models": ["mnist"]}])
    put(tmp_path, "pod-20261126-000001", pods=[{**needs, "models": ["mnist", "minilm"]}])
    text = parts(tmp_path)["pod"]
    assert text.index("| mnist | 9.00 |") < text.index("| mnist, minilm | 9.00 |")
