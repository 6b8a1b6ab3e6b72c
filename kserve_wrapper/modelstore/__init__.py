"""What KServe mounts (``config/config.properties``, ``model-store/*.mar``), written and checked."""

from __future__ import annotations

from kserve_wrapper.modelstore.check import check
from kserve_wrapper.modelstore.findings import Finding, Severity
from kserve_wrapper.modelstore.single import check_mar
from kserve_wrapper.modelstore.write import write

__all__ = ["Finding", "Severity", "check", "check_mar", "write"]
