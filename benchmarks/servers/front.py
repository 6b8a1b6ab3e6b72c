"""Wrapper processes that differ in their HTTP server alone, all in front of one TorchServe."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Mapping

from benchmarks.environments import PEERS, ROOT, peer_python
from benchmarks.processes import ProcessGroup, Usage
from benchmarks.servers.base import Build, Server
from benchmarks.servers.ours import Ours
from kserve_wrapper.supervisor.derived_config import free_port


class Front(Server):
    """One wrapper process.

    Args:
        name: of ``benchmarks.http_servers``.
        behind: started already: its TorchServe answers, and counts among the servers.
    """

    def __init__(self, name: str, behind: Ours) -> None:
        super().__init__()
        self.name = name
        self._behind = behind

    def launch(self, directory: Path) -> None:
        port = free_port()
        self.http = f"127.0.0.1:{port}"
        library = self.name.partition("-")[0]
        python = str(peer_python(library)) if library in PEERS else sys.executable
        flags = ["--host", "127.0.0.1", "--http_port", str(port), "--enable_grpc", "false"]
        command = [python, "-m", "benchmarks.http_servers", self.name, *flags]
        [config] = self._behind.groups[0].log.parent.glob("ts-kserve-*/config.properties")
        environment = {"PYTHONPATH": str(ROOT), "CONFIG_PATH": str(config)}
        self.groups = [ProcessGroup("wrapper", command, directory, environment)]

    def forms(self) -> Mapping[str, Build]:
        return self._behind.forms()

    def usage(self) -> Usage:
        own, behind = super().usage(), self._behind.usage()
        roles = [role for role in behind.cpu_s if role in ("torchserve", "worker")]
        return Usage(
            {**own.cpu_s, **{role: behind.cpu_s[role] for role in roles}},
            {**own.peak_mib, **{role: behind.peak_mib[role] for role in roles}},
        )
