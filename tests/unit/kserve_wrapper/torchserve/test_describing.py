"""Handlers that cannot describe themselves are told by their archives; in doubt they are asked."""

from __future__ import annotations

import asyncio
from pathlib import Path
from typing import Any, Dict

import pytest

from kserve_wrapper.torchserve.config import load
from kserve_wrapper.torchserve.describing import may_describe
from kserve_wrapper.torchserve.readiness import Readiness, Settings
from tests.unit.deploy.archives import make_mar
from tests.unit.kserve_wrapper.torchserve.management_server import serving, version, worker

PLAIN = "import torch\nfrom ts.torch_handler.base_handler import BaseHandler\nclass H(BaseHandler):\n    pass\n"


@pytest.mark.parametrize(
    ("members", "model", "expected"),
    [
        ({"other.py": PLAIN}, {}, False),
        ({"other.py": PLAIN, "helper.py": ""}, {}, False),
        ({"other.py": PLAIN + "import helper\n", "helper.py": ""}, {}, False),
        ({}, {"handler": "image_classifier"}, False),
        ({"other.py": PLAIN + "    def describe_handle(self): ...\n"}, {}, True),
        ({"other.py": "from mnist_handler import ImageClassifier\n"}, {}, True),
        ({"other.py": "import elsewhere.handlers\n"}, {}, True),
        ({"other.py": "def broken(:\n"}, {}, True),
    ],
)
def test_told_from_the_archive(tmp_path: Path, members: Dict[str, str], model: Dict[str, Any], expected: bool) -> None:
    path = make_mar(tmp_path, members=members, **model)
    assert may_describe(tmp_path, path.name) is expected


def test_what_cannot_be_read_is_asked(tmp_path: Path) -> None:
    (tmp_path / "broken.mar").write_bytes(b"no zip")
    (tmp_path / "unpacked").mkdir()
    for url in ("broken.mar", "unpacked", "none.mar", "https://host/a.mar", "../broken.mar", ""):
        assert may_describe(tmp_path, url)
    assert may_describe(None, "a.mar")


@pytest.mark.parametrize(("source", "asked"), [(PLAIN, 0), ("def describe(): ...\n", 1)])
def test_a_handler_without_description_is_ready_unasked(tmp_path: Path, source: str, asked: int) -> None:
    make_mar(tmp_path, "m", members={"other.py": source})
    properties = tmp_path / "config.properties"
    properties.write_text(f"model_store={tmp_path}\n")

    async def scenario() -> None:
        models = {"m": [{**version("1.0", worker(0)), "modelUrl": "m.mar"}]}
        async with serving(models=models) as (server, management):
            readiness = Readiness(management, load(properties, {}), Settings(load_delay=0))
            await readiness._poll(listing=True)
            await asyncio.gather(*readiness._tasks)
            assert readiness.model_ready("m")
            assert readiness.described("m")
            assert sum("customized" in target for target in server.asked) == asked

    asyncio.run(scenario())
