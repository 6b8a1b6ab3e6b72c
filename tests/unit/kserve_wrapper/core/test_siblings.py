"""Server processes that tell each other whether they are ready."""

from __future__ import annotations

import os

from kserve_wrapper.core.siblings import Siblings


def test_all_must_be_ready_whoever_asks() -> None:
    siblings = Siblings(2)
    siblings.tell(True)
    assert not siblings.ready()
    child = os.fork()
    if child == 0:
        siblings.join(1)
        siblings.tell(True)
        os._exit(0 if siblings.ready() else 1)
    assert os.waitpid(child, 0)[1] == 0
    assert siblings.ready()
    siblings.tell(False)
    assert not siblings.ready()
