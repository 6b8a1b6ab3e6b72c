"""The servers of photographs, none of them started: what is sent, what is right, how peers are told of the model."""

from __future__ import annotations

import argparse
from pathlib import Path

import pytest

from benchmarks import decoding, machine
from benchmarks.cases import Case, requests
from benchmarks.photographs import cases
from benchmarks.reports.decoding import report as decoding_report
from benchmarks.reports.photographs import report
from benchmarks.servers.base import labels
from benchmarks.servers.photographs import NAMES, classes, prepare, servers


@pytest.fixture(scope="module")
def place(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("photographs")
    prepare(folder)
    return folder


def test_photographs_are_of_several_classes(place: Path) -> None:
    case = Case("base64", 1, 1, "224x224")
    known = [classes(place, case.images(index))[0] for index in range(case.distinct)]
    assert len(set(known)) > case.distinct // 2


def test_every_server_takes_the_base64_case_and_knows_what_is_right(place: Path) -> None:
    case = Case("base64", 1, 1, "224x224")
    for server in servers(place, NAMES, 5):
        assert len(requests(case, server.forms())) == case.distinct
        assert server.expected_classes(case.images()) == classes(place, case.images())
    named = {server.name: server for server in servers(place, ["mosec", "litserve"], 5)}
    for peer in named.values():
        assert peer.environment(PORT="1")["MODEL_DIRECTORY"] == str(place)  # type: ignore[attr-defined]
    assert requests(Case("v2-binary", 1, 1, "224x224"), named["mosec"].forms()) == []


def test_the_best_of_torchserves_classes_is_read() -> None:
    assert labels({}, b'{"7": 0.2, "31": 0.5, "4": 0.1}') == [31]


def test_each_case_has_a_table(tmp_path: Path) -> None:
    (case, _) = cases([16], ["1152x864"])
    figures = {"requests_per_second": 2.0, "rows_per_second": 2.0, "p50_ms": 1.0, "p90_ms": 1.0, "p99_ms": 1.0}
    rounds = [{**figures, "errors": 0, "cpu_s_per_1000": {}, "peak_mib": {}}]
    run = {"form": case.form, "rows": 1, "connections": 16, "pictures": case.pictures, "void": False, "rounds": rounds}
    runs = [{**run, "server": name} for name in ("ours", "mosec")]
    text = report({"machine": machine.describe(), "seconds": 1.0, "runs": runs}, tmp_path / "x.md")
    assert "## 1152x864, base64, 16 connections" in text
    assert "| mosec | 2.00 |" in text


def test_decoding_is_measured_by_size_format_and_way(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(decoding, "SIZES", ((224, 224), (1600, 1200)))
    given = argparse.Namespace(rows=[2], threads=[1, 2], rounds=1)
    entries = list(decoding.timed(given))
    assert len(entries) == 2 * (6 + 2 + 2)
    assert all(entry["ms"] > 0 for entry in entries)
    reduced = [entry["off"] > 0 for entry in entries if entry["gap"] and entry["width"] == 1600]
    assert reduced == [True] * 4
    assert not any(entry["off"] for entry in entries if not entry["gap"])
    text = decoding_report({"machine": machine.describe(), "entries": entries}, tmp_path / "x.md")
    assert text.count("| 1600x1200 | JPEG | 2 |") == 6
