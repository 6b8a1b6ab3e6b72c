"""What a person reads of a traceback."""

from __future__ import annotations

import pytest

from kserve_wrapper.torchserve import tracebacks
from kserve_wrapper.torchserve.load_log import failure

HEAD = "Traceback (most recent call last):"
INSTALLED = '  File "/opt/venv/lib/python3.11/site-packages/ts/model_loader.py", line 116, in load'
OWN = '  File "/tmp/models/5f0c/shapes_handler.py", line 6, in initialize'


def test_the_place_is_the_last_one_in_the_archives_own_code() -> None:
    other = '  File "/tmp/models/5f0c/mnist_handler/handler.py", line 9, in initialize'
    frames = [
        INSTALLED,
        "    call()",
        OWN,
        "    self.x()",
        other,
        "    x()",
        '  File "<frozen importlib>", line 1, in f',
    ]
    assert tracebacks.place(frames) == "shapes_handler.py, line 6"
    assert tracebacks.place([INSTALLED, other]) is None


@pytest.mark.parametrize(
    ("lines", "cause"),
    [
        (['  File "/tmp/m/h.py", line 14', "    def (", "        ^", "SyntaxError: invalid syntax"], "(h.py, line 14)"),
        (
            [OWN, "NameError: name 'a' is not defined. Did you mean: 'b'?"],
            "Did you mean: 'b' (shapes_handler.py, line 6)",
        ),
        ([OWN, "RuntimeError: expected 3 channels"], "RuntimeError: expected 3 channels"),
        ([OWN, "mnist_handler.compute.loading.LoadError: 5 names, 3 classes"], "5 names, 3 classes"),
        ([OWN, "ValueError: \x1b[1mloud\x1b[0m"], "ValueError: loud"),
    ],
)
def test_slips_have_a_place_and_sentences_no_class(lines: list[str], cause: str) -> None:
    found = failure([HEAD, INSTALLED, *lines])
    assert found is not None
    assert found[0].endswith(cause)
    assert "LoadError" not in found[0]
