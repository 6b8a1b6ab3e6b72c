"""Several V2 inputs to a model of one: rows of it that follow each other, or a client's mistake that is told."""

from __future__ import annotations

from pathlib import Path
from typing import Any, List, Tuple

import numpy as np
import pytest

from mnist_handler import InputSpec, InputValues, Request, RequestError, RowHandler
from mnist_handler.inputs.checks import check_continued
from tests.unit.mnist_handler.conftest import start
from tests.unit.mnist_handler.helpers import ask_one, labels, refusal

IDS = InputSpec("ids", "INT64", (-1,), pad=0, companion="mask")
WAVE = InputSpec("wave", "FP32", (-1,), pad=0, companion="lengths")
TEXT = InputSpec("text", "BYTES", (), becomes=IDS)
STOCK = InputSpec("input-0", "FP32", (3,))
FLOATS, INTEGERS, BOOLEANS = np.ones((1, 3), np.float32), np.ones((1, 3), np.int64), np.ones((1, 3), np.bool_)
WORDS = [b"a text"]

Given = List[Tuple[str, Any]]


def check(given: Given, spec: InputSpec, any_form: bool = False) -> None:
    check_continued([(name, InputValues(values)) for name, values in given], spec, any_form)


@pytest.mark.parametrize(
    ("given", "spec"),
    [
        ([("input-0", FLOATS), ("input-1", FLOATS)], STOCK),
        ([("input-0", FLOATS), ("input-1", FLOATS)], WAVE),
        ([("in", FLOATS), ("other", FLOATS.astype(np.float64))], WAVE),
        ([("wave", FLOATS), ("wave2", FLOATS)], WAVE),
        # The wrapper makes these of requests of unequal lengths, whatever numbers they have.
        ([("wave", FLOATS), ("wave", FLOATS[:, :2])], WAVE),
        ([("wave", INTEGERS), ("wave", INTEGERS)], WAVE),
        ([("text", WORDS), ("text", np.array([[b"one"]], object))], TEXT),
        ([("a", INTEGERS), ("b", INTEGERS.astype(np.uint8))], IDS),
        ([("lengths", FLOATS), ("lengths2", FLOATS)], STOCK),
    ],
)
def test_rows_may_follow_each_other_in_inputs_of_their_own(given: Given, spec: InputSpec) -> None:
    check(given, spec)


@pytest.mark.parametrize(
    ("given", "spec", "told"),
    [
        (
            [("wave", FLOATS), ("lengths", INTEGERS)],
            WAVE,
            "unknown input lengths; the model takes wave alone, whose len",
        ),
        ([("wave", FLOATS), ("lengths", FLOATS)], WAVE, "unknown input lengths"),
        ([("lengths", FLOATS), ("x", FLOATS)], WAVE, "unknown input lengths"),
        ([("wave", FLOATS), ("wave_lengths", FLOATS)], WAVE, "unknown input wave_lengths"),
        ([("ids", INTEGERS), ("attention-mask", INTEGERS)], IDS, "unknown input attention-mask"),
        ([("text", WORDS), ("Mask", WORDS)], TEXT, "unknown input Mask"),
        ([("wave", FLOATS), ("rate", FLOATS)], WAVE, "unknown input rate; the model takes wave"),
        (
            [("rate", FLOATS), ("wave", FLOATS), ("gain", FLOATS)],
            WAVE,
            "unknown input rate, gain; the model takes wave",
        ),
        ([("text", WORDS), ("ids", INTEGERS)], TEXT, "unknown input ids; the model takes text"),
        ([("sound", FLOATS), ("n", INTEGERS)], WAVE, "input n holds integers, which continues no rows of floats"),
        ([("n", INTEGERS), ("sound", FLOATS)], WAVE, "input n holds integers"),
        ([("n", INTEGERS), ("m", INTEGERS)], WAVE, "input n holds integers"),
        ([("wave", FLOATS), ("wave", INTEGERS)], WAVE, "input wave holds integers, which continues no rows of floats"),
        ([("wave", FLOATS), ("wave2", WORDS)], WAVE, "input wave2 holds text"),
        ([("a", BOOLEANS), ("b", BOOLEANS)], WAVE, "input a holds booleans"),
        ([("a", WORDS), ("b", INTEGERS)], TEXT, "input b holds integers, which continues no rows of text"),
    ],
)
def test_another_input_is_no_row(given: Given, spec: InputSpec, told: str) -> None:
    with pytest.raises(RequestError, match=told) as caught:
        check(given, spec)
    assert caught.value.status == 400


def test_rows_of_several_forms_are_told_apart_by_the_handler_that_reads_them() -> None:
    check([("a", WORDS), ("b", INTEGERS), ("c", FLOATS)], STOCK, any_form=True)
    with pytest.raises(RequestError, match="unknown input scale"):
        check([("input-0", WORDS), ("scale", FLOATS)], STOCK, any_form=True)


LONGEST = """
import torch
from torch import nn
class Longest(nn.Module):
    def forward(self, wave, lengths):
        return torch.stack([lengths < 3, lengths >= 3], dim=1).float() + 0 * wave.sum(1, keepdim=True)
"""


class Sound(RowHandler):
    inputs = (WAVE,)


def test_lengths_beside_a_waveform_are_no_second_waveform(tmp_path: Path) -> None:
    (tmp_path / "longest.py").write_text(LONGEST)
    handler = start(tmp_path, {"compile": "none"}, Sound, model_file="longest.py", weights=None)
    wave, rest = InputValues(np.ones((1, 5), np.float32)), InputValues(np.ones((1, 2), np.float32))
    lengths = InputValues(np.array([3], np.int64))
    assert "unknown input lengths" in refusal(handler, Request([("wave", wave), ("lengths", lengths)])).message
    assert "unknown input n; the model" in refusal(handler, Request([("wave", wave), ("n", lengths)])).message
    assert labels(ask_one(handler, Request([("wave", wave), ("wave", rest)]))) == [1, 0]
    assert labels(ask_one(handler, Request([("input-0", wave), ("input-1", rest)]))) == [1, 0]
    # Protocols agree.
    both = Request([("wave", InputValues([[1.0]])), ("lengths", InputValues([3]))], by_row=True)
    assert "unknown input lengths; the model takes wave" in refusal(handler, both).message
