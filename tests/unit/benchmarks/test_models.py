"""The servers of models, none of them started: what is sent, what is right, how peers are told of the model."""

from __future__ import annotations

import argparse
import dataclasses
import json
import struct
from pathlib import Path
from typing import Any, Dict

import numpy as np
import pytest

from benchmarks import decoding, machine, models
from benchmarks.cases import Case, requests
from benchmarks.measure import Record
from benchmarks.models import cases
from benchmarks.processes import StartError
from benchmarks.quiet import Quiet
from benchmarks.reports.decoding import report as decoding_report
from benchmarks.reports.models import report
from benchmarks.servers import archives
from benchmarks.servers.base import Server, labels, numbers
from benchmarks.servers.models import MODELS, NAMES, Model, answers, prepare, servers
from benchmarks.servers.stock import StockParts
from benchmarks.servers.tuned import Tuned

PHOTOGRAPHS = dataclasses.replace(MODELS["efficientnet_lite0"], random=True)
TEXTS = dataclasses.replace(MODELS["minilm"], random=True)


@pytest.fixture(scope="module")
def place(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Random weights of both, without archives: those are the commands' own."""
    folder = tmp_path_factory.mktemp("models")
    with pytest.MonkeyPatch.context() as patch:
        for name in ("packed", "stock_model"):
            patch.setattr(archives, name, lambda *given: None)
        for model in (PHOTOGRAPHS, TEXTS):
            prepare(model, folder)
    return folder


def test_photographs_are_of_several_classes(place: Path) -> None:
    case = Case("base64", 1, 1, "224x224")
    contents = [case.images(index)[0] for index in range(case.distinct)]
    known = answers(PHOTOGRAPHS, place / PHOTOGRAPHS.name, contents)
    assert len(set(known.tolist())) > 2


def test_what_was_prepared_is_taken_as_it_is(place: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(archives, "packed", lambda *given: pytest.fail("made again"))
    assert prepare(TEXTS, place) == place / "minilm"


@pytest.mark.parametrize("model", [PHOTOGRAPHS, TEXTS], ids=lambda model: model.name)
def test_every_server_takes_its_own_case_and_knows_what_is_right(place: Path, model: Model) -> None:
    case, folder = Case("base64", 1, 1, model.pictures[-1]), place / model.name
    up = servers(model, folder, NAMES, [0, 5], [1], StockParts(Path("x"), Path("y")))
    assert [server.name for server in up] == list(NAMES)
    for server in up:
        if isinstance(server, Tuned):
            server.tried = {1: {0: 1.0, 5: 2.0}}
        assert len(requests(case, server.forms())) == case.distinct
        right = server.for_case(case).expected_answers(case.images())
        assert np.array_equal(right, answers(model, folder, case.images()))
    known = {server.name: server for server in up}
    told = known["mosec"].for_case(case).environment(PORT="1")  # type: ignore[attr-defined]
    assert (told["MODEL"], told["WINDOW_MS"], told["BATCH"]) == (model.name, "5", str(model.batch))
    assert requests(Case("v2-binary", 1, 1, case.pictures), known["mosec"].forms()) == []
    assert list(known["ours"].grpc_forms()) == ["grpc-raw"]
    assert [server.name for server in servers(model, folder, NAMES, [0], [1], None)] == [
        name for name in NAMES if name != "stock-v1"
    ]


def test_texts_are_of_several_lengths_and_sent_as_they_are() -> None:
    case = Case("base64", 1, 2, "texts")
    assert len({len(case.images(index)[0]) for index in range(case.distinct)}) > 4
    assert all(text.decode().isascii() for text in case.images())


def test_the_best_of_torchserves_classes_is_read() -> None:
    assert labels({}, b'{"7": 0.2, "31": 0.5, "4": 0.1}') == [31]
    assert labels({}, b'{"predictions": [{"7": 0.2, "31": 0.5}, {"2": 0.9, "3": 0.1}]}') == [31, 2]


def test_vectors_are_read_in_every_form() -> None:
    vectors = np.array([[0.25, -0.5, 0.125]], "<f4")
    output: Dict[str, Any] = {"name": "embedding", "datatype": "FP32", "shape": [1, 3]}
    header = json.dumps({"outputs": [{**output, "parameters": {"binary_data_size": vectors.nbytes}}]}).encode()
    told = {"inference-header-content-length": str(len(header))}
    assert np.array_equal(numbers(told, header + vectors.tobytes()), vectors)
    assert np.array_equal(numbers({}, json.dumps({"predictions": vectors.tolist()}).encode()), vectors)
    assert np.array_equal(numbers({}, json.dumps(vectors[0].tolist()).encode()), vectors)


def test_classes_with_names_are_read_from_binary_data() -> None:
    names = b"".join(struct.pack("<I", len(name)) + name for name in (b"31", b"7"))
    output = {"name": "predict", "datatype": "BYTES", "shape": [2], "parameters": {"binary_data_size": len(names)}}
    header = json.dumps({"outputs": [output]}).encode()
    assert labels({"inference-header-content-length": str(len(header))}, header + names) == [31, 7]


def test_each_case_has_a_table_and_what_it_comes_to(tmp_path: Path) -> None:
    (case, *_) = cases(PHOTOGRAPHS, ["base64"], [16])
    figures = {"rows_per_second": 2.0, "p50_ms": 1.0, "p90_ms": 1.0, "p99_ms": 1.0, "errors": 0, "peak_mib": {}}
    described = {"form": case.form, "rows": 1, "connections": 16, "pictures": case.pictures, "void": False}
    runs = []
    for server, rate in (("ours", 4.0), ("mosec", 3.9), ("litserve", 2.0)):
        spent = {"worker": 3.0, "wrapper": 0.75, "torchserve": 0.25} if server == "ours" else {server: 4.0}
        one = {**figures, "requests_per_second": rate, "cpu_s_per_1000": spent}
        runs.append({**described, "server": server, "rounds": [one]})
    model = {"model": "efficientnet_lite0", "runs": runs, "windows": {"mosec": {"16": {"0": 3.9, "5": 3.0}}}}
    text = report({"machine": machine.describe(), "seconds": 1.0, "models": [model]}, tmp_path / "x.md")
    assert "### 1152x864, base64, 16 connections" in text
    assert "| mosec | 3.90 |" in text
    assert "| 1152x864, 16 | 1.03x | 2.00x | 25.0% | ours, mosec |" in text
    assert "| mosec | 16 | **3.90** | 3.00 |" in text


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


def test_a_server_that_does_not_start_costs_nobody_elses_figures(
    place: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    class Fails(Server):
        name = "mosec"

        def launch(self, directory: Path) -> None:
            raise StartError("ended with 1")

        def forms(self) -> Dict[str, Any]:
            return {}

    class Starts(Fails):
        name = "ours"

        def start(self, directory: Path, seconds: float = 0) -> None:
            pass

    monkeypatch.setattr(models, "servers", lambda *given: [Starts(), Fails()])
    monkeypatch.setattr(models, "rounds", lambda up, *given: [Record(one.name, Case("base64", 1)) for one in up])
    given = argparse.Namespace(
        models_in=place, servers=[], windows=[0], connections=[1], forms=["base64"], rounds=1, seconds=1
    )
    monkeypatch.setattr(models, "prepare", lambda model, where: where / model.name)
    found = models.measured(TEXTS, given, None, tmp_path, Quiet(0))
    assert [run["server"] for run in found["runs"]] == ["ours"]
