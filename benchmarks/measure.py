"""One run: one server under one case's load, with the server's CPU and memory beside the load's figures."""

from __future__ import annotations

import contextlib
import http.client
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Dict, List, Tuple

from benchmarks.cases import Case, requests
from benchmarks.load import closed_loop, h2load, wrk
from benchmarks.load.figures import LoadFigures
from benchmarks.load.request_file import write_requests
from benchmarks.processes import Usage
from benchmarks.servers.base import Server, post


@dataclass
class Record:
    """All rounds of one server under one case."""

    server: str
    case: Case
    rounds: List[Dict[str, Any]] = field(default_factory=list)
    #: Why the server could not be measured at all.
    fault: str = ""

    def add(self, figures: LoadFigures, usage: Usage) -> None:
        thousand = max(1, figures.requests) / 1000
        self.rounds.append(
            {
                **figures.to_json(),
                "rows_per_second": figures.requests_per_second * self.case.rows,
                "cpu_s_per_1000": {role: cpu / thousand for role, cpu in usage.cpu_s.items()},
                "peak_mib": usage.peak_mib,
            }
        )

    @property
    def void(self) -> bool:
        """A run with an error, or without an answer, says nothing about speed."""
        return bool(self.fault) or not self.rounds or any(one["errors"] or not one["requests"] for one in self.rounds)

    def to_json(self) -> Dict[str, Any]:
        case = {"form": self.case.form, "rows": self.case.rows, "connections": self.case.connections}
        if self.case.pictures != "digits":
            case["pictures"] = self.case.pictures
        return {"server": self.server, **case, "void": self.void, "fault": self.fault, "rounds": self.rounds}


def can(server: Server, case: Case) -> bool:
    """Whether the server takes the case, and the generator for it is installed."""
    if case.is_grpc:
        return case.form in server.grpc_forms() and h2load.available()
    return bool(requests(case, server.forms()))


def measure(server: Server, case: Case, seconds: float, directory: Path) -> Tuple[LoadFigures, Usage]:
    """One run of ``seconds``, files in ``directory``."""
    server = server.for_case(case)
    with server.turn():
        return _measure(server, case, seconds, directory)


def _measure(server: Server, case: Case, seconds: float, directory: Path) -> Tuple[LoadFigures, Usage]:
    if case.is_grpc:
        assert server.grpc is not None
        message = server.grpc_forms()[case.form](case.images())
        answer = len(h2load.grpc_call(server.grpc, message))
        before = server.usage()
        figures = h2load.run(server.grpc, message, answer, case.connections, seconds, directory)
        spent = server.usage().since(before)
        settle(server, case)
        return figures, spent
    file = directory / f"{server.name}-{case.form}-{case.pictures}-{case.rows}.requests"
    if not file.exists():
        write_requests(file, requests(case, server.forms()))
    before = server.usage()
    generate = wrk.run if wrk.available() else closed_loop.run
    figures = generate(server.http, file, case.connections, seconds)
    spent = server.usage().since(before)
    settle(server, case)
    return figures, spent


def settle(server: Server, case: Case) -> None:
    """Waits until the server has done with what clients left behind.

    It would work on that in another's turn, or, held still meanwhile, take the pause for the time that its model needs.
    Requests are taken in the order in which they came: the answer to one more of their kind tells.
    """
    forms = server.forms()
    build = forms.get(case.form, forms.get("base64"))
    if build is not None:
        with contextlib.suppress(OSError, http.client.HTTPException):
            post(server.http, build(Case(case.form, 1, 1, case.pictures).images()))
