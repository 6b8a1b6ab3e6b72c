"""The parts of the package's description that setup.cfg cannot say: README with links that hold on an index."""

from __future__ import annotations

import os
import re
from pathlib import Path

from setuptools import setup

HERE = Path(__file__).resolve().parent
#: Where the repository lies for everybody; `make release PROJECT_URL=…` gives it.
VARIABLE = "PROJECT_URL"
#: An image or a link with a target: !, text, target.
LINK = re.compile(r"(!?)\[((?:[^\[\]]|\[[^\]]*\])*)\]\(([^)\s]+)\)")


def absolute(text: str, url: str, version: str) -> str:
    """README for readers who have no repository around it.

    Relative links lead to the version's files at ``url``. Without a URL a link leaves its words, an image nothing:
    better than one that leads nowhere.
    """

    def link(found: re.Match[str]) -> str:
        mark, words, target = found.groups()
        if re.match(r"[a-z]+:|#", target):
            return found.group(0)
        if not url:
            return "" if mark else words
        form = "raw" if mark else "blob"
        return f"{mark}[{words}]({url.rstrip('/')}/{form}/v{version}/{target})"

    return LINK.sub(link, text)


def version() -> str:
    text = (HERE / "kserve_wrapper" / "_version.py").read_text(encoding="utf-8")
    found = re.search(r'__version__ = "([^"]+)"', text)
    if found is None:
        raise ValueError("kserve_wrapper/_version.py has no __version__")
    return found.group(1)


if __name__ == "__main__":
    project = os.environ.get(VARIABLE, "")
    readme = (HERE / "README.md").read_text(encoding="utf-8")
    more = {"url": project, "project_urls": {"Changes": f"{project}/blob/v{version()}/CHANGELOG.md"}} if project else {}
    setup(
        long_description=absolute(readme, project, version()),
        long_description_content_type="text/markdown",
        **more,
    )
