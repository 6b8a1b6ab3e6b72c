"""What tells people how to work here is true: files, targets and commands that it names exist and agree."""

from __future__ import annotations

import re
import shlex
from pathlib import Path
from typing import Any

import pytest
import yaml

from tests.unit.deploy.manifests import ROOT

PAGES = [
    "CONTRIBUTING.md",
    "SECURITY.md",
    *sorted(f"docs/decisions/{p.name}" for p in ROOT.glob("docs/decisions/*.md")),
]
MAKEFILE = (ROOT / "Makefile").read_text(encoding="utf-8")


def text(name: str) -> str:
    return (ROOT / name).read_text(encoding="utf-8")


def test_the_hooks_run_what_make_lint_runs() -> None:
    (repository,) = yaml.safe_load(text(".pre-commit-config.yaml"))["repos"]
    assert repository["repo"] == "local"
    (hook,) = repository["hooks"]
    assert (hook["entry"], hook["language"], hook["pass_filenames"]) == ("make lint", "system", False)
    assert re.search(r"^lint:", MAKEFILE, re.MULTILINE)


def test_the_workflow_calls_make_test_and_may_do_little() -> None:
    workflow: dict[Any, Any] = yaml.safe_load(text(".github/workflows/test.yml"))
    assert workflow["permissions"] == {"contents": "read"}
    (job,) = workflow["jobs"].values()
    assert [step["run"] for step in job["steps"] if "run" in step] == ["make test"]
    for version in job["strategy"]["matrix"]["python"]:
        assert f"Programming Language :: Python :: {version}" in text("setup.cfg")


@pytest.mark.parametrize("file", sorted(str(p.relative_to(ROOT)) for p in (ROOT / ".github").rglob("*.yml")))
def test_githubs_files_are_yaml(file: str) -> None:
    value = yaml.safe_load(text(file))
    assert isinstance(value, dict)
    if "ISSUE_TEMPLATE" in file and not file.endswith("config.yml"):
        assert {"name", "description", "body"} <= value.keys()
        identifiers = [item["id"] for item in value["body"] if item["type"] != "markdown"]
        assert len(set(identifiers)) == len(identifiers) > 0


def test_dependabot_looks_where_the_pins_are() -> None:
    for update in yaml.safe_load(text(".github/dependabot.yml"))["updates"]:
        place = ROOT / update["directory"].lstrip("/")
        wanted = {"pip": "constraints.txt", "docker": "Dockerfile", "github-actions": ".github/workflows/test.yml"}
        assert (place / wanted[update["package-ecosystem"]]).is_file()


@pytest.mark.parametrize("page", PAGES)
def test_what_a_page_names_exists(page: str) -> None:
    content = text(page)
    for target in re.findall(r"`make ([a-z-]+)`", content):
        assert re.search(rf"^{target}:", MAKEFILE, re.MULTILINE), target
    for link in re.findall(r"\]\(([^)#]+)", content):
        assert link.startswith("https://") or (ROOT / page).parent.joinpath(link).exists(), link
    roots = ("kserve_wrapper/", "mnist_handler/", "tests/", "docs/", "config/", "benchmarks/", "model-archiver/")
    for path in re.findall(r"`([\w./-]+)`", content):
        if path.startswith(roots):
            assert (ROOT / path).exists(), path


def test_the_commands_of_contributing_run_what_exists() -> None:
    for line in re.findall(r"`(\.venv/bin/python [^`]+)`", text("CONTRIBUTING.md")):
        files = [word for word in shlex.split(line) if word.endswith(".py")]
        assert all((ROOT / file).is_file() for file in files), line


def test_every_decision_says_what_it_costs_and_when_to_think_again() -> None:
    pages = [Path(page) for page in PAGES if page.startswith("docs/decisions/") and not page.endswith("README.md")]
    assert len(pages) == 8
    for page in pages:
        words = re.findall(r"^\*\*(.+?)\*\*", text(str(page)), re.MULTILINE)
        assert words == ["Chosen.", "Else there was", "Why.", "It costs", "Anew if"], page
        assert f"]({page.name})" in text("docs/decisions/README.md")
