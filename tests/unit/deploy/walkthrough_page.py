"""The commands of docs/kserve-walkthrough.md, and what the page says that they print."""

from __future__ import annotations

import re
from dataclasses import dataclass

from tests.unit.deploy.manifests import ROOT

ENGLISH, CHINESE = (ROOT / "docs" / f"kserve-walkthrough{ending}.md" for ending in ("", ".zh-TW"))
FENCED = re.compile(r"^```(\w*)\n(.*?)^```$", re.MULTILINE | re.DOTALL)


@dataclass(frozen=True)
class Command:
    line: str
    printed: str

    @property
    def needs_cluster(self) -> bool:
        return "kubectl" in self.line and not self.line.startswith("kubectl kustomize")

    @property
    def is_request(self) -> bool:
        return self.line.startswith("curl ")

    @property
    def sets_a_variable(self) -> bool:
        return re.match(r"[A-Z_]+=", self.line) is not None


def commands() -> list[Command]:
    found = []
    for language, body in FENCED.findall(ENGLISH.read_text(encoding="utf-8")):
        if language == "console":
            for part in re.split(r"^\$ ", body, flags=re.MULTILINE)[1:]:
                line, _, printed = part.partition("\n")
                found.append(Command(line, printed))
    return found
