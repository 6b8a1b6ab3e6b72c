"""BERT's tokenizer for lower-case text: words and punctuation, each cut into the longest pieces of a vocabulary.

As Devlin et al. (2018) describe it: text is freed of control characters and accents and put in lower case; characters
of Chinese stand alone; a word that the vocabulary cannot spell is [UNK].
"""

from __future__ import annotations

import unicodedata
from typing import Dict, List, Sequence

#: A longer word is [UNK], as it is for BERT; spelling it would cost the square of its length.
MAX_WORD = 100
_CJK = (
    *((0x4E00, 0x9FFF), (0x3400, 0x4DBF), (0x20000, 0x2A6DF), (0x2A700, 0x2B73F)),
    *((0x2B740, 0x2B81F), (0x2B820, 0x2CEAF), (0xF900, 0xFAFF), (0x2F800, 0x2FA1F)),
)


class WordPiece:
    """Texts to token ids, [CLS] before and [SEP] behind them.

    Args:
        vocabulary: the tokens in the order of their ids; one that continues a word begins with ``##``.
    """

    def __init__(self, vocabulary: Sequence[str]) -> None:
        self._ids: Dict[str, int] = {token: number for number, token in enumerate(vocabulary)}
        self._start, self._end, self._unknown = (self._ids[name] for name in ("[CLS]", "[SEP]", "[UNK]"))

    def __call__(self, text: str) -> List[int]:
        ids = [self._start]
        for word in split_words(text):
            ids.extend(self._spell(word))
        return [*ids, self._end]

    def _spell(self, word: str) -> List[int]:
        if len(word) > MAX_WORD:
            return [self._unknown]
        pieces: List[int] = []
        start = 0
        while start < len(word):
            prefix = "##" if start else ""
            ends = range(len(word), start, -1)
            end = next((end for end in ends if prefix + word[start:end] in self._ids), None)
            if end is None:
                return [self._unknown]
            pieces.append(self._ids[prefix + word[start:end]])
            start = end
        return pieces


def split_words(text: str) -> List[str]:
    """Words in lower case without accents; each mark of punctuation and each Chinese character is one of its own."""
    spaced = "".join(_space(character) for character in text)
    plain = unicodedata.normalize("NFD", spaced.lower())
    return "".join(
        f" {character} " if _is_punctuation(character) else character
        for character in plain
        if unicodedata.category(character) != "Mn"
    ).split()


def _space(character: str) -> str:
    if character in "\t\n\r":
        return " "
    category = unicodedata.category(character)
    if character in "\0\ufffd" or category.startswith("C"):
        return ""
    if category == "Zs":
        return " "
    code = ord(character)
    return f" {character} " if any(low <= code <= high for low, high in _CJK) else character


def _is_punctuation(character: str) -> bool:
    code = ord(character)
    ascii_mark = 33 <= code <= 47 or 58 <= code <= 64 or 91 <= code <= 96 or 123 <= code <= 126
    return ascii_mark or unicodedata.category(character).startswith("P")
