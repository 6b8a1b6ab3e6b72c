"""A peer whose batching delay is open: each is tried, and for each number of connections the best is taken."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Callable, Dict, Mapping, Sequence

from benchmarks.cases import Case
from benchmarks.measure import measure
from benchmarks.servers.base import Build, GrpcBuild, Server
from benchmarks.servers.peers import Peer


class Tuned(Server):
    """Several of one peer, one a delay, once tried.

    Args:
        make: the peer with a delay in milliseconds.
        windows_ms: the delays to try.
        connections: for which numbers of connections; one row a request.
        pictures: what is sent, see ``Case``.
    """

    def __init__(
        self,
        make: Callable[[float], Peer],
        windows_ms: Sequence[float],
        connections: Sequence[int],
        pictures: str = "digits",
    ) -> None:
        super().__init__()
        self._variants: Dict[float, Peer] = {window: make(window) for window in windows_ms}
        self._connections = sorted(connections)
        self._pictures = pictures
        self.name = next(iter(self._variants.values())).name
        #: Requests a second by connections and delay, as tried.
        self.tried: Dict[int, Dict[float, float]] = {}

    def try_all(self, directory: Path, seconds: float) -> None:
        """Measures each delay by itself, none of the others up."""
        self.tried = {count: {} for count in self._connections}
        for window, server in self._variants.items():
            place = directory / f"{self.name}-{window:g}"
            server.start(place, 300)
            try:
                measure(server, Case("base64", 16, 1, self._pictures), 2, place)
                for count in self._connections:
                    figures, _ = measure(server, Case("base64", count, 1, self._pictures), seconds, place)
                    self.tried[count][window] = figures.requests_per_second
            finally:
                server.stop()
            rates = ", ".join(f"{self.tried[count][window]:.0f}/s at {count}" for count in self._connections)
            print(f"{self.name}: {window:g} ms: {rates}", file=sys.stderr, flush=True)

    def window(self, connections: int) -> float:
        """The best delay for so many connections: that of the next number that was tried."""
        known = next((count for count in self._connections if count >= connections), self._connections[-1])
        rates = self.tried[known]
        return max(rates, key=lambda window: rates[window])

    def launch(self, directory: Path) -> None:
        for window in sorted({self.window(count) for count in self._connections}):
            self._variants[window].beside_others = self.beside_others
            self._variants[window].launch(directory / f"{window:g}")

    def is_ready(self) -> bool:
        return all(server.is_ready() for server in self._variants.values() if server.groups)

    def for_case(self, case: Case) -> Server:
        return self._variants[self.window(case.connections)]

    def forms(self) -> Mapping[str, Build]:
        return next(iter(self._variants.values())).forms()

    def grpc_forms(self) -> Mapping[str, GrpcBuild]:
        return next(iter(self._variants.values())).grpc_forms()

    def rest(self) -> None:
        for server in self._variants.values():
            server.rest()

    def stop(self) -> None:
        for server in self._variants.values():
            server.stop()
