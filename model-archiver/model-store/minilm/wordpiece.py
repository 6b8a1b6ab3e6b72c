"""BERT's tokenizer for lower-case text: words and punctuation, each cut into the longest pieces of a vocabulary.

As Devlin et al. (2018) describe it: text is freed of control characters and accents and put in lower case; characters
of Chinese stand alone; a word that the vocabulary cannot spell is [UNK].
"""

from __future__ import annotations

import unicodedata
from functools import lru_cache
from typing import Callable, Dict, List, Sequence, Tuple

#: A longer word is [UNK], as it is for BERT; spelling it would cost the square of its length.
MAX_WORD = 100
#: Words whose pieces are kept.
_WORDS = 1 << 16
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
        #: Most words come again and again.
        self._spelt = lru_cache(maxsize=_WORDS)(self._spell)

    def __call__(self, text: str) -> List[int]:
        ids = [self._start]
        for word in split_words(text):
            if len(word) > MAX_WORD:
                ids.append(self._unknown)
            else:
                ids.extend(self._spelt(word))
        return [*ids, self._end]

    def _spell(self, word: str) -> Tuple[int, ...]:
        pieces: List[int] = []
        start = 0
        while start < len(word):
            prefix = "##" if start else ""
            ends = range(len(word), start, -1)
            end = next((end for end in ends if prefix + word[start:end] in self._ids), None)
            if end is None:
                return (self._unknown,)
            pieces.append(self._ids[prefix + word[start:end]])
            start = end
        return tuple(pieces)


class _Table(Dict[int, str]):
    """What becomes of each character, for ``str.translate``; made when one first comes, and kept of the usual ones."""

    def __init__(self, make: Callable[[str], str]) -> None:
        super().__init__()
        self._make = make

    def __missing__(self, code: int) -> str:
        made = self._make(chr(code))
        if code < 0x10000:  # so that no client can make it large
            self[code] = made
        return made


def split_words(text: str) -> List[str]:
    """Words in lower case without accents; each mark of punctuation and each Chinese character is one of its own."""
    plain = unicodedata.normalize("NFD", text.translate(_SPACED).lower())
    return plain.translate(_MARKED).split()


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


def _mark(character: str) -> str:
    """Punctuation apart, accents away."""
    code = ord(character)
    ascii_mark = 33 <= code <= 47 or 58 <= code <= 64 or 91 <= code <= 96 or 123 <= code <= 126
    category = unicodedata.category(character)
    if ascii_mark or category.startswith("P"):
        return f" {character} "
    return "" if category == "Mn" else character


_SPACED, _MARKED = _Table(_space), _Table(_mark)
