"""TorchServe's management address: what is registered, in which state, and changing it.

Source: TorchServe's ManagementRequestHandler and ApiUtils, 0.9 to 0.12.
"""

from __future__ import annotations

import json
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Dict, List, Mapping, NoReturn, Optional, Tuple
from urllib.parse import quote

from kserve_wrapper.core.errors import BadGateway, InvalidRequest, MethodNotAllowed, NotFound, Unavailable, WrapperError
from kserve_wrapper.torchserve.tokens import KeyFile
from kserve_wrapper.upstream import once
from kserve_wrapper.upstream.address import Address, tls_context

_OFF = (
    "TorchServe has model control off. Set enable_model_api=true in config.properties, or start it with "
    "--enable-model-api."
)


@dataclass(frozen=True)
class Description:
    """One version of a registered model.

    ``ready`` holds (worker id, process id) of the workers that have loaded the model and can answer.
    ``customized`` is the handler's own description; None when it was not asked or said nothing of use.
    ``url`` is the archive: a file name within the model store, or where it was fetched from. ``processes`` are the
    process ids of all workers that have a process, by worker id. ``batch_size`` counts requests, as does
    ``queue_capacity``, the length of its job queue; either is None where TorchServe does not tell.
    ``use_job_ticket``: it takes a request only while a worker waits for one.
    """

    version: str
    min_workers: int
    ready: Tuple[Tuple[str, int], ...]
    workers: int
    customized: Optional[Mapping[str, Any]] = None
    url: str = ""
    processes: Mapping[str, int] = field(default_factory=dict)
    batch_size: Optional[int] = None
    queue_capacity: Optional[int] = None
    use_job_ticket: bool = False


class Management:
    """Calls of the management API.

    Args:
        address: where it listens.
        keys: read anew when TorchServe refuses a key.
        certificate: TorchServe's certificate_file, for https.
        timeout: seconds for one call, where the call does not say otherwise.
    """

    def __init__(
        self, address: Address, keys: KeyFile, certificate: Optional[Path] = None, timeout: float = 1.0
    ) -> None:
        self.address = address
        self.keys = keys
        self.timeout = timeout
        self._tls = tls_context(address, certificate)

    async def models(self, timeout: Optional[float] = None) -> List[str]:
        """Names of all registered models, sorted."""
        names: List[str] = []
        page: Optional[str] = None
        while True:
            target = "/models" + _query({"limit": 100, "next_page_token": page})
            answer = await self._json("GET", target, timeout)
            fields = answer if isinstance(answer, dict) else {}
            names += [str(item.get("modelName")) for item in _list(fields.get("models"))]
            following = fields.get("nextPageToken")
            # A page that does not advance would ask for ever.
            if not isinstance(following, str) or following == page:
                return names
            page = following

    async def describe(
        self, name: str, version: Optional[str] = None, customized: bool = False, timeout: Optional[float] = None
    ) -> List[Description]:
        """The default version, one version, or with ``version="all"`` every version.

        With ``customized`` a worker is asked too, which waits until one is free.

        Raises:
            NotFound: no such model or version.
            Unavailable, DeadlineExceeded: TorchServe, or with ``customized`` a worker, cannot be reached.
            BadGateway: an answer that is not one; with ``customized`` the handler failed.
        """
        target = _path(name, version) + _query({"customized": customized or None})
        try:
            answer = await self._json("GET", target, timeout)
        except NotFound:
            if version is None:
                raise
            # At an address shared with inference TorchServe takes /models/NAME/VERSION for an inference request and
            # answers 404; the default version can still be had there.
            found = await self.describe(name, None, customized, timeout)
            if version not in ("all", found[0].version):
                raise
            return found
        return [_description(item) for item in _list(answer)]

    async def register(self, url: str, timeout: float = 300.0, **parameters: Any) -> None:
        """Registers an archive of the model store and starts its workers, as far as ``initial_workers`` says.

        Args:
            url: file name within the model store. The caller has checked it.
            parameters: model_name, initial_workers, synchronous, batch_size, max_batch_delay, response_timeout.
        """
        await self._json("POST", "/models" + _query({"url": url, **parameters}), timeout)

    async def unregister(self, name: str, version: Optional[str] = None, timeout: float = 120.0) -> None:
        """Removes one version, or the model's default one."""
        await self._json("DELETE", _path(name, version), timeout)

    async def renew(self, purpose: str) -> None:
        """Makes TorchServe replace the ``inference`` or the ``management`` key and write its file anew."""
        target = "/token" + _query({"type": purpose})
        await self._call("GET", target, self.timeout, "API")
        self.keys.refresh(force=True)

    async def _json(self, method: str, target: str, timeout: Optional[float] = None) -> Any:
        body = await self._call(method, target, timeout or self.timeout, "management")
        try:
            return json.loads(body)
        except (ValueError, RecursionError):
            raise BadGateway("TorchServe's management address answered something that is not JSON") from None

    async def _call(self, method: str, target: str, timeout: float, purpose: str) -> bytes:
        for last in (False, True):
            answer = await once.request(self.address, self._tls, method, target, self.keys.headers(purpose), timeout)
            if answer.status < 300:
                return answer.body
            if last or not (_refused_key(answer.body) and self.keys.refresh()):
                break
        _fail(answer.status, answer.body)


def _path(name: str, version: Optional[str]) -> str:
    segment = quote(name, safe="")
    # With authorization on, TorchServe takes any URL that contains "/token" for its token API.
    if segment.startswith("token"):
        segment = "%74" + segment[1:]
    return f"/models/{segment}" + (f"/{quote(version, safe='')}" if version is not None else "")


def _query(parameters: Mapping[str, object]) -> str:
    """``?a=1&b=x`` from what is not None; booleans as TorchServe reads them."""

    def text(value: object) -> str:
        return quote(str(value).lower() if isinstance(value, bool) else str(value), safe="")

    pairs = {name: text(value) for name, value in parameters.items() if value is not None}
    return "?" + "&".join(f"{name}={value}" for name, value in pairs.items()) if pairs else ""


def _list(value: Any) -> List[Any]:
    if not isinstance(value, list) or not all(isinstance(item, dict) for item in value):
        raise BadGateway("TorchServe's management address answered in an unknown form")
    return value


def _description(item: Mapping[str, Any]) -> Description:
    workers = _list(item.get("workers", []))
    ready = tuple((str(w.get("id")), _integer(w.get("pid"))) for w in workers if w.get("status") == "READY")
    return Description(
        version=str(item.get("modelVersion")),
        min_workers=_integer(item.get("minWorkers")),
        ready=ready,
        workers=len(workers),
        customized=_customized(item.get("customizedMetadata")),
        url=str(item.get("modelUrl") or ""),
        processes={str(w.get("id")): pid for w in workers for pid in [_integer(w.get("pid"))] if pid > 0},
        batch_size=_count(item.get("batchSize")),
        queue_capacity=_queue_capacity(item.get("jobQueueStatus")),
        use_job_ticket=item.get("useJobTicket") is True,
    )


def _queue_capacity(status: Any) -> Optional[int]:
    """Free and taken places of the job queue together."""
    fields = status if isinstance(status, dict) else {}
    free, taken = _count(fields.get("remainingCapacity")), _count(fields.get("pendingRequests"))
    return free + taken if free is not None and taken is not None else None


def _count(value: Any) -> Optional[int]:
    return value if isinstance(value, int) and not isinstance(value, bool) and value >= 0 else None


def _integer(value: Any) -> int:
    return value if isinstance(value, int) else 0


def _customized(value: Any) -> Optional[Mapping[str, Any]]:
    """An object since TorchServe 0.10, the same as text before."""
    if isinstance(value, str):
        try:
            value = json.loads(value)
        except (ValueError, RecursionError):
            return None
    if isinstance(value, list) and len(value) == 1:
        value = value[0]
    return value if isinstance(value, dict) and value else None


def _error(body: bytes) -> Dict[str, Any]:
    try:
        value = json.loads(body)
    except (ValueError, RecursionError):
        return {}
    return value if isinstance(value, dict) else {}


def _refused_key(body: bytes) -> bool:
    return _error(body).get("type") == "InvalidKeyException"


def _fail(status: int, body: bytes) -> NoReturn:
    """TorchServe's refusal in words of ours: its own may tell paths and classes."""
    if status == 503 and _error(body).get("type") == "InternalServerException":
        # A worker was asked and failed, as stock envelopes do at a describe: nothing is full.
        raise BadGateway("the model's handler failed at this question")
    errors: Dict[int, WrapperError] = {
        404: NotFound("TorchServe does not know this model or version"),
        405: MethodNotAllowed(_OFF),
        409: InvalidRequest("this model and version is registered already"),
        503: Unavailable("TorchServe's workers or its queue are full", retry_after=1),
    }
    if _refused_key(body):
        raise Unavailable("TorchServe refused the key of its own key file: authorization is on and the file is old")
    if 400 <= status < 500 and status not in errors:
        raise InvalidRequest("TorchServe refused the request; its log says why")
    raise errors.get(status, BadGateway(f"TorchServe's management address answered with status {status}"))
