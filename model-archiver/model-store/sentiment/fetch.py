#!/usr/bin/env python3
"""Train the sentiment classifier: some ten seconds on a CPU, no download.

    python model-archiver/model-store/sentiment/fetch.py

It learns from sentences that are made here out of a hundred words, praise and blame of films and food, with negations.
So it shows how text is served and explained, and is no judge of anybody's prose.
"""

from __future__ import annotations

import random
import sys
from pathlib import Path
from typing import Any, List, Optional, Sequence, Tuple

import torch
from torch import nn

from kserve_wrapper.archiver import weights

HERE = Path(__file__).parent
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


@weights.one_thread()
def train(steps: int = STEPS) -> Tuple[nn.Module, List[str], float]:
    """The model, its words, and its share of right answers on sentences that it has not seen."""
    torch.manual_seed(SEED)
    words = vocabulary()
    ids = {word: number for number, word in enumerate(words)}
    model = weights.network(HERE / "sentiment.py", "Sentiment")
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


def fetch(folder: Path, random_weights: bool) -> str:
    """Write sentiment.pt and words.txt into ``folder``; nothing is downloaded either way."""
    model, words, right = train()
    weights.save(model.state_dict(), folder / "sentiment.pt")
    (folder / "words.txt").write_text("\n".join(words) + "\n", encoding="utf-8")
    return f"{folder / 'sentiment.pt'}: {right:.0%} of new sentences right"


def main(arguments: Optional[Sequence[str]] = None) -> int:
    """Entry point: 0, or 1 with the cause on stderr."""
    return weights.main(__doc__, HERE, fetch, arguments)


if __name__ == "__main__":
    sys.exit(main())
