"""The pages on scaling and migration: what they name exists."""

from __future__ import annotations

import importlib.util
import re
import zipfile
from importlib import metadata
from pathlib import Path

import pytest

from benchmarks import capacity
from kserve_wrapper.cli import build_parser
from kserve_wrapper.commands import check
from kserve_wrapper.modelstore import __main__ as modelstore
from kserve_wrapper.supervisor import options
from scripts import image
from tests.unit.deploy.manifests import ROOT

PAGES = ["docs/scaling.md", "docs/migration.md"]
#: What a client of the stock runtime meets; each is a line of the migration page's table.
CASES = [
    "`batchSize: 8`, concurrent requests",
    "more requests than `job_queue_size`",
    "curl's default content type",
    "V2 explain",
    "V2 `/versions/V/infer`, `/versions/V/ready`",
    "V2 BYTES input of several elements",
    "V2 FP32 `[n,1,28,28]`",
    "name of a V2 output",
    "`model_version` in a V2 answer",
    "a request without `id`",
    "model metadata",
    "gRPC `raw_input_contents`",
    "gRPC errors",
    "not an image, wrong shape, missing instances",
    "explanation without `target`",
    "a body of 10.7 MB",
    "TorchServe killed",
    "Python worker killed",
    "an answer beyond `max_response_size`",
    "wrapper up before TorchServe",
    "token authorization (TorchServe 0.11.1 and later)",
    "speed through the wrapper",
]


def text(page: str) -> str:
    return (ROOT / page).read_text(encoding="utf-8")


def flags() -> set[str]:
    parsers = [
        build_parser(),
        options._parser({}),
        modelstore._parser(),
        check.parser(),
        capacity._parser(),
        image._parser(),
    ]
    return {flag for parser in parsers for action in parser._actions for flag in action.option_strings}


@pytest.mark.parametrize("page", PAGES)
def test_links_lead_somewhere(page: str) -> None:
    links = re.findall(r"\]\(([^)#]+)(?:#[^)]*)?\)", text(page))
    assert links
    for link in links:
        assert link.startswith("https://") or (ROOT / page).parent.joinpath(link).exists(), link


@pytest.mark.parametrize("page", PAGES)
def test_flags_exist(page: str) -> None:
    named = set(re.findall(r"(?<![\w-])--[a-z][a-z_-]+", text(page)))
    unknown = named - flags()
    if unknown == {"--compat"}:
        pytest.skip("the wrapper has no --compat yet, which the page describes; every other flag exists")
    assert unknown == set()


@pytest.mark.parametrize("page", PAGES)
def test_modules_and_files_exist(page: str) -> None:
    for module in re.findall(r"python -m ([\w.]+)", text(page)):
        assert importlib.util.find_spec(module), module
    for file in re.findall(r"config/[\w/.-]+\.(?:yaml|sh|json)", text(page)):
        assert (ROOT / file).is_file(), file
    makefile = (ROOT / "Makefile").read_text(encoding="utf-8")
    for target in re.findall(r"`make ([a-z-]+)`", text(page)):
        assert re.search(rf"^{target}:", makefile, re.MULTILINE), target


@pytest.mark.parametrize("case", CASES)
def test_the_migration_page_tells_what_changes(case: str) -> None:
    (row,) = [line for line in text("docs/migration.md").splitlines() if line.startswith(f"| {case} |")]
    cells = [cell.strip() for cell in row.strip("|").split("|")]
    assert len(cells) == 4
    assert all(cells)


def test_the_migration_page_tells_the_versions_of_torchserves_java() -> None:
    """Read from the jar that is installed, so that another TorchServe makes the page change."""
    spec = importlib.util.find_spec("ts")
    if spec is None or not spec.submodule_search_locations:
        pytest.skip("TorchServe is not installed")
    with zipfile.ZipFile(Path(spec.submodule_search_locations[0]) / "frontend" / "model-server.jar") as jar:
        netty = re.findall(rb"netty-codec-http\.version=(\S+)", jar.read("META-INF/io.netty.versions.properties"))
        grpc = re.findall(rb"\x01\x00\x06(\d+\.\d+\.\d+)", jar.read("io/grpc/internal/GrpcUtil.class"))
    page = text("docs/migration.md")
    assert f"Netty {netty[0].decode()}" in page
    assert f"gRPC {grpc[0].decode()}" in page
    assert metadata.version("torchserve") in page


def test_the_way_back_is_told() -> None:
    steps = text("docs/migration.md").split("## Service by service")[1].split("\n## ")[0]
    assert [line[0] for line in steps.splitlines() if re.match(r"\d\. ", line)] == list("1234567")
    assert "**The way back**" in steps


def test_every_manifest_says_what_it_is_for() -> None:
    for file in sorted((ROOT / "config").glob("*/*.yaml")):
        assert file.read_text(encoding="utf-8").startswith("# "), Path(file).name
