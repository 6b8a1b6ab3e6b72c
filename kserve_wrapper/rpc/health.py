"""grpc.health.v1 and server reflection, where their packages are installed."""

from __future__ import annotations

import asyncio
import logging
from contextlib import suppress
from typing import Any, Optional

from kserve_wrapper.core.dataplane import DataPlane
from kserve_wrapper.rpc.messages import Protocol

logger = logging.getLogger(__name__)

#: Seconds between two looks at readiness.
_INTERVAL = 0.25


def add_health(server: Any, plane: DataPlane, service: str) -> Optional[asyncio.Task[None]]:
    """Adds the health service; the task returned keeps it true. None without grpcio-health-checking."""
    try:
        from grpc_health.v1 import health, health_pb2, health_pb2_grpc
    except ImportError:
        logger.info("no grpc.health.v1: the package grpcio-health-checking is not installed")
        return None
    servicer = health.aio.HealthServicer()
    health_pb2_grpc.add_HealthServicer_to_server(servicer, server)
    statuses = health_pb2.HealthCheckResponse.ServingStatus

    async def follow() -> None:
        shown: Optional[bool] = None
        while True:
            ready = plane.ready()
            if ready != shown:
                shown = ready
                for name in ("", service):
                    await servicer.set(name, statuses.SERVING if ready else statuses.NOT_SERVING)
            await asyncio.sleep(_INTERVAL)

    return asyncio.get_running_loop().create_task(follow())


def add_reflection(server: Any, service: str, protocol: Protocol) -> None:
    """Adds server reflection, so that tools need no .proto file; nothing without grpcio-reflection.

    It tells what is served and nothing else: ``protocol`` is the service's description.
    """
    try:
        from grpc_reflection.v1alpha import reflection
    except ImportError:
        logger.info("no reflection: the package grpcio-reflection is not installed")
        return
    from grpc_reflection.v1alpha import reflection_pb2

    names = [service, reflection.SERVICE_NAME]
    protocol.add(reflection_pb2.DESCRIPTOR)
    with suppress(ImportError):
        from grpc_health.v1 import health_pb2

        protocol.add(health_pb2.DESCRIPTOR)
        names.append("grpc.health.v1.Health")
    reflection.enable_server_reflection(names, server, pool=protocol.pool)
