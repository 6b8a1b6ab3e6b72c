"""Trains the model on sentences of a few words, writes template_name.pt and vocabulary.json. Takes seconds."""

import json
import random
import re
from pathlib import Path

import torch
from template_name import TemplateName
from torch import nn

HERE = Path(__file__).resolve().parent
THINGS = ["the film", "our meal", "this book", "the room", "her talk", "the concert", "my phone", "the service"]
GOOD = ["wonderful", "good", "great", "lovely", "excellent", "a joy", "fine and friendly", "the best of the year"]
BAD = ["awful", "bad", "boring", "terrible", "dull", "a waste of time", "rude and slow", "the worst of the year"]
FORMS = ["{thing} was {word}", "{thing} is {word}", "I found {thing} {word}", "{word}, {thing}", "what {word} {thing}"]
NEUTRAL = "was is i found what"
VOCABULARY = ["", "?", *sorted(set(re.findall(r"\w+", " ".join([*THINGS, *GOOD, *BAD, NEUTRAL]).lower())))]


def numbers(text: str) -> list[int]:
    return [VOCABULARY.index(word) if word in VOCABULARY else 1 for word in re.findall(r"\w+", text.lower())]


def sentence(dice: random.Random) -> tuple[str, int]:
    good = dice.randrange(2)
    word = dice.choice(GOOD if good else BAD)
    return dice.choice(FORMS).format(thing=dice.choice(THINGS), word=word), good


def batch(dice: random.Random, rows: int) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
    texts = [sentence(dice) for _ in range(rows)]
    ids = nn.utils.rnn.pad_sequence([torch.tensor(numbers(text)) for text, _ in texts], batch_first=True)
    return ids, (ids > 0).long(), torch.tensor([good for _, good in texts])


def main() -> None:
    torch.manual_seed(0)
    torch.set_num_threads(1)  # more only wait for each other at this size
    dice = random.Random(0)
    model = TemplateName()
    optimizer = torch.optim.Adam(model.parameters(), 0.02)
    for _ in range(100):
        ids, mask, good = batch(dice, 64)
        optimizer.zero_grad()
        nn.functional.cross_entropy(model(ids, mask), good).backward()
        optimizer.step()
    ids, mask, good = batch(dice, 300)
    right = (model(ids, mask).argmax(1) == good).float().mean().item()
    print(f"of 300 sentences {right:.0%} are told rightly")
    (HERE / "vocabulary.json").write_text(json.dumps(VOCABULARY) + "\n")
    torch.save(model.state_dict(), HERE / "template_name.pt")


if __name__ == "__main__":
    main()
