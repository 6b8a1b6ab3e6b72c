"""Reports from results: voids, ratios, targets, plots."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from benchmarks import machine
from benchmarks.measure import Record
from benchmarks.report import write_report
from benchmarks.reports import growth, markdown
from benchmarks.reports.targets import TARGETS, measured, targets
from benchmarks.sampling import collapse, stage_of, thread_name
from benchmarks.stats import spread
from benchmarks.texts import sentences
from benchmarks.worker.answers import gist, predictions, unlike


def run_of(server: str, rates: list[float], form: str = "base64", connections: int = 64, errors: int = 0) -> Any:
    rounds = [
        {
            "requests": int(rate),
            "seconds": 1.0,
            "p50_ms": 1000 / rate,
            "p90_ms": 2.0,
            "p99_ms": 3.0,
            "errors": errors,
            "requests_per_second": rate,
            "rows_per_second": rate,
            "cpu_s_per_1000": {"wrapper": 0.1},
            "peak_mib": {"wrapper": 60.0},
        }
        for rate in rates
    ]
    return {
        "server": server, "form": form, "rows": 1, "connections": connections, "void": bool(errors), "rounds": rounds
    }  # fmt: skip


def result_of(runs: list[Any]) -> dict[str, Any]:
    return {"kind": "serving", "machine": machine.describe(), "seconds": 1.0, "runs": runs}


def test_a_serving_report_has_ratios_round_by_round(tmp_path: Path) -> None:
    runs = [run_of("ours", [600, 1200, 900]), run_of("torchserve", [100, 200, 150])]
    latency = [{"server": "ours", "rate": rate, "errors": 0, "p50_ms": 1.0, "p99_ms": 2.0 * rate} for rate in (50, 100)]
    path = tmp_path / "serving-1.json"
    path.write_text(json.dumps({**result_of([*runs, run_of("ours", [10] * 3, connections=1)]), "latency": latency}))
    text = write_report(path).read_text()
    assert "6.00 (6.00–6.00)x" in text
    assert "| V1 at 64 connections over TorchServe alone | 6x | 6.00 (6.00–6.00)x | yes |" in text
    for name in ("throughput", "latency"):
        assert (tmp_path / f"serving-1-{name}.png").read_bytes().startswith(b"\x89PNG")


def test_http_servers_are_compared_pair_by_pair(tmp_path: Path) -> None:
    runs = [run_of("own", [1000, 500]), run_of("other", [500, 250]), run_of("broken", [500, 250], errors=1)]
    path = tmp_path / "http-1.json"
    path.write_text(json.dumps({**result_of([{**run, "fault": ""} for run in runs]), "kind": "http"}))
    text = write_report(path).read_text()
    line = "| 2.00 (2.00–2.00) | 1.00 (1.00–1.00) | 1.00 (1.00–1.00) |"
    assert [row.endswith(line) for row in text.splitlines() if row.startswith("| other ")] == [True]
    assert "| broken | void: errors |" in text


def test_an_error_voids_a_run_and_what_compares_with_it(tmp_path: Path) -> None:
    runs = [run_of("ours", [600]), run_of("torchserve", [100], errors=2)]
    path = tmp_path / "serving-2.json"
    path.write_text(json.dumps(result_of(runs)))
    text = write_report(path).read_text()
    assert "void: 2 errors" in text
    assert "over TorchServe alone" not in text


def test_targets_compare_with_the_best_of_several() -> None:
    runs = [run_of("ours", [900]), run_of("mlserver", [100]), run_of("litserve", [300]), run_of("bentoml", [200])]
    (peers,) = [
        one for one in TARGETS if one.text == "V1 at 64 connections over the best of MLServer, LitServe, BentoML"
    ]
    ratio = measured(peers, runs)
    assert ratio is not None
    assert ratio.median == pytest.approx(3)


def test_a_target_in_times_is_theirs_over_ours() -> None:
    runs = [run_of("ours", [250], connections=1), run_of("torchserve", [500], connections=1)]
    assert "| p50 at 1 connection, TorchServe alone over ours | 0.8x | 0.50x | NO |" in targets(runs)


def test_records_void_themselves() -> None:
    from benchmarks.cases import Case
    from benchmarks.load.figures import LoadFigures
    from benchmarks.processes import Usage

    record = Record("ours", Case("base64", 1, rows=8))
    record.add(LoadFigures(1000, 2.0, 1, 2, 3, 0), Usage({"worker": 4.0}, {"worker": 700.0}))
    assert not record.void
    assert record.rounds[0]["rows_per_second"] == 4000
    assert record.rounds[0]["cpu_s_per_1000"] == {"worker": 4.0}
    record.add(LoadFigures(0, 2.0, 0, 0, 0, 0), Usage({}, {}))
    assert record.void


def test_a_servers_fault_voids_its_case_and_no_other(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    from benchmarks import serving
    from benchmarks.cases import Case
    from benchmarks.load.figures import LoadFigures
    from benchmarks.processes import Usage
    from benchmarks.quiet import Quiet
    from benchmarks.servers.ours import Ours

    class Hangs(Ours):
        name = "hangs"

    measured_so_far: list[str] = []

    def measure(server: Ours, case: Case, seconds: float, directory: Path) -> tuple[LoadFigures, Usage]:
        measured_so_far.append(server.name)
        if server.name == "hangs" and measured_so_far.count("hangs") == 2:
            raise TimeoutError("no answer: within 60 s")
        return LoadFigures(1000, 1.0, 1, 2, 3, 0), Usage({}, {})

    monkeypatch.setattr(serving, "measure", measure)
    monkeypatch.setattr(serving, "prepare", lambda server, case, directory: "")
    records = serving.rounds([Ours(), Hangs()], [Case("base64", 1)], 3, 1.0, tmp_path, Quiet(0))
    assert [(one.server, one.void, len(one.rounds)) for one in records] == [("ours", False, 3), ("hangs", True, 1)]
    runs = [one.to_json() for one in records]
    path = tmp_path / "serving-3.json"
    path.write_text(json.dumps(result_of(runs)))
    assert "| hangs | void: TimeoutError |" in write_report(path).read_text()


def test_growth_names_the_bend_and_the_busiest_process() -> None:
    at = {value: [{"cores": {"worker": 0.9, "wrapper": 0.3}}] for value in (1, 2, 4)}
    line = growth.explain("connections", [1, 2, 4], [100, 190, 200], at, 2)
    assert line.startswith("Bends at 2, with nine tenths")
    assert "worker most with 0.90" in line


def test_unknown_kinds_are_refused(tmp_path: Path) -> None:
    path = tmp_path / "x.json"
    path.write_text('{"kind": "other"}')
    with pytest.raises(ValueError, match="known are serving"):
        write_report(path)


def test_numbers_and_tables() -> None:
    assert [markdown.number(value) for value in (0, 0.01234, 1.234, 12.34, 12345.6)] == [
        "0", "0.0123", "1.23", "12.3", "12,346"
    ]  # fmt: skip
    assert markdown.spread(spread([2.0, 1.0, 3.0])) == "2.00 (1.00–3.00)"
    with pytest.raises(ValueError, match="1 cells under 2"):
        markdown.table(["a", "b"], [["1"]])


def test_samples_go_to_the_innermost_known_stage_and_waits_are_left_out() -> None:
    stacks = "\n".join(
        [
            "main (x.py);predict (/r/kserve_wrapper/rest/v1.py:41);dumps (/r/kserve_wrapper/codecs/v1.py:9) 30",
            "main (x.py);run (/p/uvloop/loop.c);write (libc.so) 10",
            "main (x.py);run (/p/uvloop/loop.c);epoll_pwait (/usr/lib/libc.so.6) 500",
        ]
    )
    assert collapse(stacks) == {"codecs": 0.75, "event loop, sockets": 0.25}
    assert stage_of("a;b") == "other"
    assert [thread_name(name) for name in ("C2 CompilerThre", "epollEventLoopG", "W-9000-mnist_1.0")] == [
        "JIT compiler", "epollEventLoopG", "W"
    ]  # fmt: skip


def test_the_machine_is_named() -> None:
    found = machine.describe()
    assert found["cores"] >= 1
    assert found["cpu"]
    assert found["versions"]["numpy"] != "absent"


def test_handlers_are_set_beside_the_stock_ones_of_their_kind(tmp_path: Path) -> None:
    entries = [
        {"model": model, "handler": name, "rows": 8, "round": number, "rows_per_second": rate * (number + 1)}
        for model, ours in (("minilm", 300.0), ("detector", 110.0))
        for number in range(3)
        for name, rate in (("stock", 100.0), ("ours", ours))
    ]
    path = tmp_path / "handler-1.json"
    result = {"kind": "handler", "models": ["minilm", "detector"], "machine": machine.describe(), "entries": entries}
    path.write_text(json.dumps(result))
    _, texts, detector = write_report(path).read_text().split("\n## ")
    assert texts.startswith("minilm: texts of unequal lengths")
    assert "| 8 | ours | 600 (300–900) | 3.00 (3.00–3.00)x |" in texts
    assert "| 8 | stock | 200 (100–300) |  |" in texts
    assert "Stock is TorchServe's object_detector, unmodified." in detector
    assert "| 8 | ours | 220 (110–330) | 1.10 (1.10–1.10)x |" in detector


def test_predictions_are_found_in_what_a_worker_gives_back() -> None:
    reply = b"\x00\x00\x00\xc8{\x00bench\x00%s\xff\xff\xff\xff"
    for body in (b'{"predictions":[[1.5],7]}', b'{\n  "predictions": [\n [1.5], 7]\n}'):
        assert predictions(reply % body) == [[1.5], 7]
    with pytest.raises(ValueError, match=r"no predictions: .*bench"):
        predictions(reply % b'{"error": "x"}')


def test_handlers_are_compared_before_they_are_measured() -> None:
    """As the two kinds of handler answer: a class, a vector, boxes."""
    stock = [gist({"3": 0.2, "7": 0.7}), gist([0.5, 1.0]), gist([{"1": [0, 0, 1, 1], "score": 0.9}])]
    ours = [gist(7), gist([0.5, 1.0 + 1e-6]), gist({"boxes": [[0, 0, 1, 1]], "scores": [0.9]})]
    assert unlike({"stock": stock, "ours": ours}, 1e-5) == []
    assert unlike({"stock": stock, "ours": ours, "other": [[7.0], [0.5, 2.0], [1.0]]}, 1e-5) == ["other"]
    assert unlike({"stock": stock, "ours": ours[:2]}, 1) == ["ours"]


def test_texts_are_ragged_and_the_same_each_time() -> None:
    assert sentences(32) == sentences(32)
    assert len({len(text.split()) for text in sentences(32)}) > 4
