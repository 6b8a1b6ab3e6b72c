"""The gRPC server: one asyncio server in the event loop that HTTP uses, too."""

from __future__ import annotations

import asyncio
import logging
import time
from pathlib import Path
from typing import Any, AsyncIterator, Awaitable, Callable, Dict, List, Tuple

import grpc

from kserve_wrapper.codecs.model_info import ModelInfo
from kserve_wrapper.core.dataplane import DataPlane
from kserve_wrapper.core.errors import QueueFull, WrapperError
from kserve_wrapper.core.trace import INTERNAL, accept_id
from kserve_wrapper.rpc.health import add_health, add_reflection
from kserve_wrapper.rpc.messages import load_messages
from kserve_wrapper.rpc.servicer import STREAM, Caller, Method, Rpc, Servicer
from kserve_wrapper.rpc.streams import in_order
from kserve_wrapper.settings import Settings
from kserve_wrapper.telemetry.metrics import Metrics

logger = logging.getLogger(__name__)

SERVICE = "inference.GRPCInferenceService"
#: The same protocol under the package name of TorchServe's own description.
SERVES_OWN = "org.pytorch.serve.grpc.openinference.GRPCInferenceService"
#: Triton's methods for memory shared with clients. Its others that are not served are unknown, by gRPC itself.
NOT_OFFERED = tuple(
    f"{kind}SharedMemory{verb}" for kind in ("System", "Cuda") for verb in ("Status", "Register", "Unregister")
)
#: Our errors, by HTTP status.
_CODES: Dict[int, grpc.StatusCode] = {
    400: grpc.StatusCode.INVALID_ARGUMENT,
    403: grpc.StatusCode.PERMISSION_DENIED,
    404: grpc.StatusCode.NOT_FOUND,
    405: grpc.StatusCode.UNIMPLEMENTED,
    500: grpc.StatusCode.INTERNAL,
    502: grpc.StatusCode.INTERNAL,
    503: grpc.StatusCode.UNAVAILABLE,
    504: grpc.StatusCode.DEADLINE_EXCEEDED,
    507: grpc.StatusCode.RESOURCE_EXHAUSTED,
}


class GrpcServer:
    """Serves until it is stopped. Construct it within the event loop.

    Args:
        plane: answers.
        metrics: counts.
        settings: port, message sizes, TLS.
    """

    def __init__(self, plane: DataPlane, metrics: Metrics, settings: Settings) -> None:
        self._metrics = metrics
        self._settings = settings
        self._server = grpc.aio.server(options=_options(settings))
        info = ModelInfo(plane, metrics.models, settings.batch_rows)
        servicer = Servicer(load_messages(), plane, info, metrics.stages, settings.compat)
        handlers = {
            name: grpc.unary_unary_rpc_method_handler(
                self._guard(name, rpc.serve),
                request_deserializer=rpc.request.FromString,
                response_serializer=rpc.response.SerializeToString,
            )
            for name, rpc in servicer.methods().items()
        }
        if servicer.stream is not None:
            handlers[STREAM] = self._stream(servicer.stream)
        handlers.update({name: _not_offered(name) for name in NOT_OFFERED})
        names = (SERVICE, SERVES_OWN) if settings.compat else (SERVICE,)
        for service in names:
            self._server.add_generic_rpc_handlers((grpc.method_handlers_generic_handler(service, handlers),))
        self._health = add_health(self._server, plane, SERVICE)
        add_reflection(self._server, SERVICE, servicer.protocol)

    async def start(self, port: int) -> int:
        """Starts serving and returns the port (0 takes a free one). Raises OSError when it cannot be had."""
        host = f"[{self._settings.host}]" if ":" in self._settings.host else self._settings.host
        credentials = _credentials(self._settings)
        try:
            if credentials is None:
                bound = self._server.add_insecure_port(f"{host}:{port}")
            else:
                bound = self._server.add_secure_port(f"{host}:{port}", credentials)
        except RuntimeError:
            bound = 0
        if not bound:
            raise OSError(f"gRPC cannot listen at {host}:{port}: the port is taken or the address is not ours")
        await self._server.start()
        return int(bound)

    async def stop(self, grace: float) -> None:
        """Refuses new calls, and ends those in flight after ``grace`` seconds."""
        if self._health is not None:
            self._health.cancel()
        await self._server.stop(grace)

    def _stream(self, rpc: Rpc) -> Any:
        """ModelStreamInfer: each request gets its one answer, in order; an error ends its request alone."""

        async def answer(request: Any, caller: Caller) -> Any:
            started = time.perf_counter()
            code, reply = "OK", rpc.response()
            try:
                reply.infer_response.CopyFrom(await rpc.serve(request, caller))
                reply.infer_response.parameters["triton_final_response"].bool_param = True
            except WrapperError as error:
                code, reply.error_message = status_code(error).name, error.message
                reply.infer_response.id = request.id
            except Exception:
                logger.exception("a request of a stream failed")
                code, reply.error_message = "INTERNAL", INTERNAL
            self._metrics.count_request("grpc", STREAM, code, time.perf_counter() - started)
            return reply

        async def serve(requests: Any, context: Any) -> AsyncIterator[Any]:
            caller = _identify(context)[1]

            def begin(request: Any) -> Awaitable[Any]:
                # The stream's deadline, as near as it is by now.
                return answer(request, caller._replace(timeout=context.time_remaining()))

            replies = in_order(requests, begin)
            try:
                async for reply in replies:
                    yield reply
            finally:
                await replies.aclose()

        return grpc.stream_stream_rpc_method_handler(
            serve,
            request_deserializer=rpc.request.FromString,
            response_serializer=rpc.response.SerializeToString,
        )

    def _guard(self, name: str, serve: Method) -> Callable[[Any, Any], Awaitable[Any]]:
        """Turns errors into statuses and counts the outcome."""

        async def guarded(request: Any, context: Any) -> Any:
            started = time.perf_counter()
            code, message = "OK", ""
            identifier, caller = _identify(context)
            try:
                answer = await serve(request, caller)
                if caller.trailers:
                    context.set_trailing_metadata((*_trailers(caller), ("x-request-id", identifier)))
                return answer
            except WrapperError as error:
                code, message = status_code(error).name, error.message
                if error.status >= 500:
                    logger.warning("request %s: %s %s", identifier, error.status, message)
            except asyncio.CancelledError:
                code = "CANCELLED"
                raise
            except Exception:
                logger.exception("request %s failed", identifier)
                code, message = "INTERNAL", INTERNAL
            finally:
                self._metrics.count_request("grpc", name, code, time.perf_counter() - started)
            return await context.abort(grpc.StatusCode[code], message)

        return guarded


def status_code(error: WrapperError) -> grpc.StatusCode:
    """The code of an error. What the table lacks is the client's fault below 500 and ours from there."""
    if isinstance(error, QueueFull):
        return grpc.StatusCode.RESOURCE_EXHAUSTED
    fallback = grpc.StatusCode.INVALID_ARGUMENT if error.status < 500 else grpc.StatusCode.INTERNAL
    return _CODES.get(error.status, fallback)


def _identify(context: Any) -> Tuple[str, Caller]:
    """The request's id, which goes back as trailing metadata, and what is known of the caller."""
    headers: Dict[bytes, bytes] = {
        key.encode(): value.encode()
        for key, value in context.invocation_metadata() or ()
        if isinstance(value, str) and value.isascii()
    }
    given = headers.get(b"x-request-id")
    identifier = accept_id(None if given is None else given.decode())
    context.set_trailing_metadata((("x-request-id", identifier),))
    return identifier, Caller(context.time_remaining(), headers, {})


def _trailers(caller: Caller) -> List[Tuple[str, str]]:
    """As metadata can carry it: in printable ASCII."""
    return [(key, value.encode("unicode_escape").decode("ascii")) for key, value in caller.trailers.items()]


def _not_offered(name: str) -> Any:
    async def refuse(request: bytes, context: Any) -> None:
        cause = f"{name}: shared memory is not offered here, send tensors in the request"
        await context.abort(grpc.StatusCode.UNIMPLEMENTED, cause)

    return grpc.unary_unary_rpc_method_handler(refuse)


def _options(settings: Settings) -> List[Tuple[str, int]]:
    return [
        ("grpc.max_receive_message_length", settings.grpc_max_receive_message_length or -1),
        ("grpc.max_send_message_length", settings.grpc_max_send_message_length or -1),
        ("grpc.max_metadata_size", settings.max_header_size or 2**20),
        ("grpc.so_reuseport", int(settings.workers > 1)),
        # With a drain delay, every connection is asked by GOAWAY to be made anew before the server stops: a stopping
        # server cancels the calls that cross its GOAWAY. Calls under way go on on the old connection.
        *([("grpc.max_connection_age_ms", int(settings.drain_delay * 1000 / 3))] if settings.drain_delay else []),
    ]


def _credentials(settings: Settings) -> Any:
    if settings.ssl_certfile is None:
        return None
    certificate = Path(settings.ssl_certfile).read_bytes()
    key = Path(settings.ssl_keyfile).read_bytes() if settings.ssl_keyfile else certificate
    authorities = Path(settings.ssl_ca_certs).read_bytes() if settings.ssl_ca_certs else None
    return grpc.ssl_server_credentials(
        [(key, certificate)], root_certificates=authorities, require_client_auth=authorities is not None
    )
