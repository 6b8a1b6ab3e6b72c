"""The MiniLM archive's own code: its tokenizer and what it makes of the package's files."""

from __future__ import annotations

import importlib.util
import json
import struct
from pathlib import Path
from typing import Any, List

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

STORE = Path(__file__).resolve().parents[3] / "model-archiver" / "model-store" / "minilm"


def module(name: str) -> Any:
    specification = importlib.util.spec_from_file_location(f"store_{name}", STORE / f"{name}.py")
    assert specification is not None
    assert specification.loader is not None
    loaded = importlib.util.module_from_spec(specification)
    specification.loader.exec_module(loaded)
    return loaded


wordpiece = module("wordpiece")
VOCABULARY = [
    "[PAD]",
    "[UNK]",
    "[CLS]",
    "[SEP]",
    "un",
    "##aff",
    "##able",
    "cafe",
    "!",
    "東",
    "a",
    "##a",
    "don",
    "'",
    "t",
]


@pytest.mark.parametrize(
    ("text", "tokens"),
    [
        ("unaffable", ["un", "##aff", "##able"]),
        ("Café!", ["cafe", "!"]),
        ("DON'T", ["don", "'", "t"]),
        ("東a東", ["東", "a", "東"]),
        ("aaa a", ["a", "##a", "##a", "a"]),
        ("unknown word", ["[UNK]", "[UNK]"]),
        ("a" * 101, ["[UNK]"]),
        ("\ta\u200b\0\ufffda\r\n", ["a", "##a"]),
        ("", []),
    ],
)
def test_words_are_spelt_by_the_longest_pieces(text: str, tokens: List[str]) -> None:
    ids = wordpiece.WordPiece(VOCABULARY)(text)
    assert [VOCABULARY[number] for number in ids] == ["[CLS]", *tokens, "[SEP]"]


@given(st.text(max_size=60))
def test_any_text_has_tokens(text: str) -> None:
    ids = wordpiece.WordPiece(VOCABULARY)(text)
    assert ids[0] == 2
    assert ids[-1] == 3
    assert all(4 <= number < len(VOCABULARY) or number == 1 for number in ids[1:-1])


def test_safetensors_are_read() -> None:
    one, two = torch.arange(6.0).reshape(2, 3), torch.tensor([7.0])
    data = one.numpy().tobytes() + two.numpy().tobytes()
    header = json.dumps(
        {
            "__metadata__": {"format": "pt"},
            "one": {"dtype": "F32", "shape": [2, 3], "data_offsets": [0, 24]},
            "two": {"dtype": "F32", "shape": [1], "data_offsets": [24, 28]},
        }
    ).encode()
    read = module("fetch").read_safetensors(struct.pack("<Q", len(header)) + header + data)
    assert torch.equal(read["one"], one)
    assert torch.equal(read["two"], two)


def test_padding_changes_no_embedding() -> None:
    torch.manual_seed(0)
    model = module("minilm").MiniLM(words=20, width=8, heads=2, inner=16, layers=2).eval()
    ids, mask = torch.tensor([[2, 5, 6, 3]]), torch.ones(1, 4, dtype=torch.int64)
    longer, shorter = torch.tensor([[2, 5, 6, 3, 0, 0, 0], [2, 9, 8, 7, 6, 5, 3]]), torch.ones(2, 7, dtype=torch.int64)
    shorter[0, 4:] = 0
    with torch.inference_mode():
        alone, together = model(ids, mask), model(longer, shorter)
    torch.testing.assert_close(alone[0], together[0])
    assert float(together[1].norm()) == pytest.approx(1)
