#!/usr/bin/env python3
"""Train the sentiment classifier: some ten seconds on a CPU, no download.

    python model-archiver/model-store/sentiment/fetch.py

It learns from sentences that are made here out of a hundred words, praise and blame of films and food, with negations.
So it shows how text is served and explained, and is no judge of anybody's prose.
"""

from __future__ import annotations

import argparse
import contextlib
import importlib.util
import os
import random
import sys
from pathlib import Path
from typing import Any, Iterator, List, Optional, Sequence, Tuple

import torch
from torch import nn

SEED, STEPS, BATCH = 21, 800, 32
GOOD = [
    "good",
    "great",
    "wonderful",
    "lovely",
    "excellent",
    "brilliant",
    "charming",
    "tasty",
    "fresh",
    "funny",
    "moving",
    "superb",
    "delightful",
    "clever",
]
BAD = [
    "bad",
    "awful",
    "terrible",
    "boring",
    "dull",
    "stale",
    "rude",
    "bland",
    "tedious",
    "poor",
    "dreadful",
    "clumsy",
    "horrible",
    "annoying",
]
THINGS = [
    "film",
    "story",
    "acting",
    "ending",
    "food",
    "soup",
    "service",
    "room",
    "hotel",
    "book",
    "song",
    "place",
    "meal",
    "music",
    "staff",
]
VERY = ["very", "really", "quite", "so", "truly", "rather", ""]
NOT = ["not", "never", "hardly"]
FRAMES = (
    "the {thing} was {words}",
    "{words} {thing}",
    "i found the {thing} {words} .",
    "this is a {words} {thing} !",
    "we thought that the {thing} was {words}",
    "what a {words} {thing}",
)
#: What joins two parts of which the second counts, and of which both say the same.
BUT, AND = ("but", "yet"), ("and", ",")
PUNCTUATION = [".", ",", "!", "?"]


def vocabulary() -> List[str]:
    """Every word of the sentences, after the padding and the word for all others."""
    words = {word for frame in FRAMES for word in frame.split() if "{" not in word}
    words.update(GOOD, BAD, THINGS, filter(None, VERY), NOT, BUT, AND, PUNCTUATION)
    return ["[PAD]", "[UNK]", *sorted(words)]


def clause(generator: random.Random, positive: bool) -> str:
    """A sentence that praises or blames; one in three says it by a negation."""
    negated = generator.random() < 0.33
    word = generator.choice(GOOD if positive != negated else BAD)
    words = " ".join(filter(None, [generator.choice(NOT) if negated else "", generator.choice(VERY), word]))
    return generator.choice(FRAMES).format(thing=generator.choice(THINGS), words=words)


def sentence(generator: random.Random) -> Tuple[str, int]:
    """A text and its class; of two parts joined by "but" the second counts."""
    positive = generator.random() < 0.5
    kind = generator.random()
    text = clause(generator, positive)
    if kind < 0.15:
        text = f"{clause(generator, not positive)} {generator.choice(BUT)} {text}"
    elif kind < 0.3:
        text = f"{clause(generator, positive)} {generator.choice(AND)} {text}"
    return text, int(positive)


def batch(generator: random.Random, ids: Any, size: int = BATCH) -> Tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
    """Ids, mask and classes of random sentences; some words are unknown, so that [UNK] has learned to say little."""
    drawn = [sentence(generator) for _ in range(size)]
    rows = [[ids[word] if generator.random() > 0.02 else 1 for word in text.split()] for text, _ in drawn]
    longest = max(map(len, rows))
    padded = torch.tensor([row + [0] * (longest - len(row)) for row in rows])
    lengths = torch.tensor([len(row) for row in rows])
    mask = (torch.arange(longest) < lengths[:, None]).long()
    return padded, mask, torch.tensor([positive for _, positive in drawn])


@contextlib.contextmanager
def one_thread() -> Iterator[None]:
    """Its matrices are small: threads would only wait for each other."""
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    try:
        yield
    finally:
        torch.set_num_threads(before)


@one_thread()
def train(steps: int = STEPS) -> Tuple[nn.Module, List[str], float]:
    """The model, its words, and its share of right answers on sentences that it has not seen."""
    torch.manual_seed(SEED)
    words = vocabulary()
    ids = {word: number for number, word in enumerate(words)}
    specification = importlib.util.spec_from_file_location("sentiment_model", Path(__file__).with_name("sentiment.py"))
    if specification is None or specification.loader is None:
        raise FileNotFoundError("sentiment.py")
    module = importlib.util.module_from_spec(specification)
    specification.loader.exec_module(module)
    model: nn.Module = module.Sentiment()
    optimizer = torch.optim.AdamW(model.parameters(), 3e-3)
    schedule = torch.optim.lr_scheduler.OneCycleLR(optimizer, 5e-3, total_steps=steps)
    generator = random.Random(SEED)
    for _ in range(steps):
        rows, mask, classes = batch(generator, ids)
        loss = nn.functional.cross_entropy(model(rows, mask), classes)
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        schedule.step()
    model.eval()
    with torch.no_grad():
        rows, mask, classes = batch(random.Random(SEED + 1), ids, 1000)
        right = float((model(rows, mask).argmax(1) == classes).float().mean())
    return model, words, right


def main(arguments: Optional[Sequence[str]] = None) -> int:
    """Entry point: 0 once the files are written."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--random-weights", action="store_true", help="changes nothing: nothing is downloaded")
    parser.add_argument("--out", type=Path, default=Path(__file__).parent, metavar="DIR", help="default: %(default)s")
    options = parser.parse_args(arguments)
    model, words, right = train()
    options.out.mkdir(parents=True, exist_ok=True)
    part = options.out / "sentiment.pt.part"
    torch.save(model.state_dict(), part)
    os.replace(part, options.out / "sentiment.pt")
    (options.out / "words.txt").write_text("\n".join(words) + "\n", encoding="utf-8")
    print(f"{options.out / 'sentiment.pt'}: {right:.0%} of new sentences right")
    return 0


if __name__ == "__main__":
    sys.exit(main())
