"""The two READMEs are in step: the same headings, commands, tables and links, in two languages."""

from __future__ import annotations

import re

import pytest

from tests.unit.deploy.manifests import ROOT

ENGLISH, CHINESE = "README.md", "README.zh-TW.md"
FENCED = re.compile(r"^```(\w*)\n(.*?)^```$", re.MULTILINE | re.DOTALL)


def text(name: str) -> str:
    return (ROOT / name).read_text(encoding="utf-8")


def prose(name: str) -> str:
    """The page without its code blocks."""
    return FENCED.sub("", text(name))


def headings(name: str) -> list[int]:
    """The levels, in order; their words differ."""
    return [len(marks) for marks in re.findall(r"^(#+) ", prose(name), re.MULTILINE)]


def blocks(name: str) -> list[tuple[str, list[str]]]:
    """Language and lines of every code block; what a comment says may differ."""
    found = FENCED.findall(text(name))
    return [(language, [re.sub(r"\s+# .*$", "", line) for line in body.splitlines()]) for language, body in found]


def links(name: str) -> set[str]:
    targets = re.findall(r"\]\(([^)#\s]+)", text(name))
    return {target for target in targets if target not in (ENGLISH, CHINESE)}


def inline(name: str) -> set[str]:
    return set(re.findall(r"(?<!`)`([^`\n]+)`(?!`)", prose(name)))


def test_headings_are_in_step() -> None:
    assert headings(CHINESE) == headings(ENGLISH)
    assert headings(ENGLISH).count(1) == 1


def test_commands_and_answers_are_in_step() -> None:
    assert blocks(CHINESE) == blocks(ENGLISH)
    assert any(line.startswith("$ make demo") for _, lines in blocks(ENGLISH) for line in lines)


def test_names_paths_and_links_are_in_step() -> None:
    assert inline(CHINESE) == inline(ENGLISH)
    assert links(CHINESE) == links(ENGLISH)


def test_tables_are_in_step() -> None:
    rows = [
        [line.count("|") for line in prose(name).splitlines() if line.startswith("|")] for name in (ENGLISH, CHINESE)
    ]
    assert rows[0] == rows[1]


@pytest.mark.parametrize("name", [ENGLISH, CHINESE])
def test_each_leads_to_the_other_and_nowhere_else_in_vain(name: str) -> None:
    other = CHINESE if name == ENGLISH else ENGLISH
    assert f"]({other})" in text(name)
    for link in links(name):
        assert link.startswith("https://") or (ROOT / link).exists(), link


def test_the_chinese_one_is_in_traditional_characters() -> None:
    """None of the commonest characters that simplified writing alone has."""
    simplified = set("这说请预测张资检备档终输类错误术给运维启动门须优让时进为从们会应该务实现样载线级网络设数据库执")
    assert simplified & set(text(CHINESE)) == set()
