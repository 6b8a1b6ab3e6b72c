"""The cases of the serving benchmark: what is sent, in how many rows, on how many connections."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Dict, List, Mapping, Sequence

from benchmarks.images import DISTINCT, photograph, pngs
from benchmarks.payloads import HttpRequest
from benchmarks.servers.base import Build
from benchmarks.texts import sentences

#: Seconds of a round of explanations on many connections, at least.
EXPLAIN_SECONDS = 8.0


#: Photographs by the name of their size: width and height. The first is one megapixel.
PHOTOGRAPHS = {"1152x864": (1152, 864), "224x224": (224, 224)}


@dataclass(frozen=True)
class Case:
    """``form`` names an entry of a server's forms; ``base64`` is each server's own way to take an image or a text."""

    form: str
    connections: int
    rows: int = 1
    #: What is sent: ``digits``, photographs of so many pixels a side, or ``texts``.
    pictures: str = "digits"

    @property
    def name(self) -> str:
        kind = "" if self.pictures == "digits" else f", {self.pictures}"
        return f"{self.form}{kind}, {self.rows} rows, {self.connections} connections".replace(" 1 rows", " 1 row")

    def images(self, first: int = 0) -> List[bytes]:
        """A request's encoded images; ``first`` tells requests apart."""
        if self.pictures == "digits":
            return pngs(self.rows, first=first)
        if self.pictures == "texts":
            known = sentences(self.distinct)
            return [known[(first + index) % self.distinct].encode() for index in range(self.rows)]
        width, height = PHOTOGRAPHS[self.pictures]
        return [photograph((first + index) % self.distinct, width, height) for index in range(self.rows)]

    @property
    def distinct(self) -> int:
        """How many different requests there are: large photographs take long to draw, and to check."""
        return DISTINCT // 4 if self.pictures in PHOTOGRAPHS else DISTINCT

    @property
    def least_seconds(self) -> float:
        """What a round takes at least: stock explanations at 64 connections take seconds each."""
        return EXPLAIN_SECONDS if self.form == "explain" and self.connections > 1 else 0.0

    @property
    def is_grpc(self) -> bool:
        return self.form.startswith("grpc")


SHORT: List[Case] = [
    Case("base64", 1),
    Case("base64", 64),
    Case("v2-json", 64),
    Case("v2-binary", 64),
    Case("grpc-raw", 64),
    Case("explain", 64),
]

FULL: List[Case] = [
    *(Case("base64", connections) for connections in (1, 16, 64, 128)),
    *(Case("base64", 16, rows) for rows in (8, 64)),
    *(Case(form, 64) for form in ("v2-bytes", "v2-json", "v2-binary", "grpc-typed", "grpc-raw")),
    *(Case(form, 1) for form in ("v2-json", "v2-binary", "grpc-typed", "grpc-raw", "explain")),
    *(Case(form, 16, 64) for form in ("v2-json", "v2-binary")),
    Case("explain", 64),
    Case("mixed", 64),
]

#: Of twenty requests of the mixed trace, how many are what: (form, rows) -> count.
MIXTURE: Dict[str, int] = {
    "base64:1": 8,
    "base64:8": 3,
    "v2-bytes:1": 2,
    "v2-json:1": 3,
    "v2-binary:1": 3,
    "explain:1": 1,
}


def requests(case: Case, forms: Mapping[str, Build]) -> Sequence[HttpRequest]:
    """The case's requests for a server with these forms; empty where it cannot take them."""
    if case.form == "mixed":
        return mixed(forms)
    build = forms.get(case.form)
    if build is None:
        return []
    try:
        return [build(case.images(index)) for index in range(case.distinct)]
    except ValueError:  # a form of one image, asked for more
        return []


def mixed(forms: Mapping[str, Build]) -> Sequence[HttpRequest]:
    """The trace of ``MIXTURE``, its kinds spread evenly; empty where a form is missing."""
    kinds = [tuple(name.split(":")) for name, count in MIXTURE.items() for _ in range(count)]
    if any(form not in forms for form, _ in kinds):
        return []
    # 7 has no divisor in common with 20: every kind comes once a cycle, none next to its like.
    order = [kinds[index * 7 % len(kinds)] for index in range(len(kinds))]
    return [forms[form](pngs(int(rows), first=index)) for index, (form, rows) in enumerate(order)]
