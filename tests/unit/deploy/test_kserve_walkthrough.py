"""The walk-through of a cluster: what needs none is run, what needs one is parsed. Its requests are sent, too, by
``tests/serving/test_kserve_walkthrough.py``."""

from __future__ import annotations

import re
import shlex
import subprocess
import sys
from pathlib import Path

import pytest

from tests.unit.deploy import tools
from tests.unit.deploy.manifests import CONFIG, ROOT, everything, read
from tests.unit.deploy.walkthrough_page import CHINESE, ENGLISH, FENCED, Command, commands

CLUSTER = [c for c in commands() if c.needs_cluster]
LOCAL = [c for c in commands() if not (c.needs_cluster or c.is_request or c.sets_a_variable)]
VERBS = {"apply", "cp", "delete", "get", "wait", "logs"}


def test_every_kind_of_command_is_there() -> None:
    assert len(LOCAL) >= 5
    assert len(CLUSTER) >= 10
    assert sum(c.is_request for c in commands()) >= 5


def test_what_needs_no_cluster_prints_what_the_page_says(tmp_path: Path) -> None:
    """All of them, in order, as a person types them; what they write goes to a directory of the test."""
    kubectl = tools.needed("kubectl")
    for command in LOCAL:
        line = command.line.replace("build/walkthrough", str(tmp_path)).replace(".venv/bin/python", sys.executable)
        line = re.sub(r"^kubectl", kubectl, line)
        ran = subprocess.run(
            ["bash", "-o", "pipefail", "-c", line], cwd=ROOT, capture_output=True, text=True, timeout=120, check=False
        )
        assert ran.returncode == 0, f"{command.line}\n{ran.stdout}{ran.stderr}"
        printed = ran.stdout.replace(str(tmp_path), "build/walkthrough")
        assert same(printed, command.printed), f"{command.line}\n{printed}"


def same(printed: str, told: str) -> bool:
    """Whether the page's lines stand at the beginning of what was printed; sizes of files may differ."""

    def sizes(text: str) -> list[str]:
        return re.sub(r"\(\d+ KiB\)", "(KiB)", text).splitlines()

    return sizes(printed)[: len(sizes(told))] == sizes(told)


@pytest.mark.parametrize("command", CLUSTER, ids=lambda c: c.line[:60])
def test_what_needs_a_cluster_is_right_as_far_as_it_can_be_read(command: Command) -> None:
    assert subprocess.run(["bash", "-n", "-c", command.line], check=False).returncode == 0
    (call,) = re.findall(r"kubectl[^|)]+", command.line)
    words = shlex.split(call)
    assert VERBS & set(words), "a verb of kubectl"
    for flag, value in zip(words, words[1:]):
        if flag in ("-f", "-k"):
            assert (ROOT / value).exists(), value
    for kind, name in re.findall(r"\b(inferenceservice|pod|pvc|gateway)[/ ]([a-z][\w-]+)", call):
        kinds = {"inferenceservice": "InferenceService", "pvc": "PersistentVolumeClaim"}
        known = {(m.kind, m.name) for m in everything()}
        assert (kinds.get(kind, kind.title()), name) in known


def test_kubectl_prints_a_line_for_each_object_that_is_applied() -> None:
    for command in CLUSTER:
        words = shlex.split(command.line)
        if words[1:3] == ["apply", "-f"] and words[3].endswith(".yaml"):
            told = command.printed.splitlines()
            assert [line.rpartition("/")[2] for line in told] == [
                f"{manifest.name} created" for manifest in read(ROOT / words[3])
            ]


def test_the_directory_that_is_uploaded_is_the_one_that_the_service_names() -> None:
    (copied,) = [c.line.split()[-1] for c in CLUSTER if c.line.startswith("kubectl cp")]
    (service,) = read(CONFIG / "kserve" / "torchserve-pvc.yaml")
    uri = service.value["spec"]["predictor"]["model"]["storageUri"]
    assert uri.replace("pvc://model-store/", "") == copied.replace("model-store-loader:/pv/", "")


def test_the_two_languages_are_in_step() -> None:
    english, chinese = (page.read_text(encoding="utf-8") for page in (ENGLISH, CHINESE))
    for pattern in (r"^```console\n.*?^```$", r"^#+ \d*", r"\]\(([^)]+)\)", r"(?<!`)`[^`\n]+`(?!`)"):
        flags = re.MULTILINE | (re.DOTALL if "console" in pattern else 0)
        kept = [
            sorted(found for found in re.findall(pattern, text, flags) if "walkthrough" not in found or "$" in found)
            for text in (english, chinese)
        ]
        assert kept[0] == kept[1], pattern
    simplified = set("这说请预测张资检备档终输类错误术给运维启动门须优让时进为从们会应该务实现样载线级网络设数据库执")
    assert simplified & set(chinese) == set()


@pytest.mark.parametrize("page", [ENGLISH, CHINESE], ids=lambda page: page.name)
def test_its_links_lead_somewhere(page: Path) -> None:
    for link in re.findall(r"\]\(([^)#]+)", page.read_text(encoding="utf-8")):
        assert (page.parent / link).exists(), link
    assert FENCED.findall(page.read_text(encoding="utf-8"))
