"""What all servers under test have in common."""

from __future__ import annotations

import http.client
import json
from abc import ABC, abstractmethod
from pathlib import Path
from typing import TYPE_CHECKING, Any, Callable, Dict, List, Mapping, Optional, Sequence, Tuple

from benchmarks.payloads import HttpRequest
from benchmarks.processes import ProcessGroup, Usage, wait_until

if TYPE_CHECKING:
    from benchmarks.cases import Case

#: Makes one request of some images.
Build = Callable[[Sequence[bytes]], HttpRequest]
GrpcBuild = Callable[[Sequence[bytes]], bytes]


class Server(ABC):
    """A server that serves the benchmark's model on loopback ports of its own.

    Attributes:
        name: as it stands in the reports.
        http: ``host:port`` of its REST address, known once started.
        grpc: the same for gRPC, or None.
    """

    name: str = ""
    #: Whether it normalises tensors of 0..1 itself, as it does images.
    normalises = True

    def __init__(self) -> None:
        self.http = ""
        self.grpc: Optional[str] = None
        self.groups: List[ProcessGroup] = []

    @abstractmethod
    def launch(self, directory: Path) -> None:
        """Starts the processes, sets ``http``, ``grpc`` and ``groups``; does not wait."""

    @abstractmethod
    def forms(self) -> Mapping[str, Build]:
        """How this server takes each case of ``cases.py`` that it can take."""

    def grpc_forms(self) -> Mapping[str, GrpcBuild]:
        return {}

    def expected_classes(self, images: Sequence[bytes]) -> List[int]:
        """The right classes of photographs, for a server of a model that classifies them."""
        raise NotImplementedError(f"{self.name} serves digits")

    def expected_vectors(self, texts: Sequence[bytes]) -> List[List[float]]:
        """The right vectors of texts, for a server of a sentence encoder."""
        raise NotImplementedError(f"{self.name} serves digits")

    def for_case(self, case: Case) -> Server:
        """The one to measure, where this stands for several of a kind."""
        return self

    #: Path that answers 200 when the model serves.
    ready_path = "/v2/health/ready"

    def start(self, directory: Path, seconds: float = 180) -> None:
        """Starts the server in its private ``directory`` and returns when it is ready.

        Raises:
            StartError: a process ended or the time is over; with the end of the logs.
        """
        self.launch(directory)
        wait_until(self.is_ready, self.groups, seconds)

    def is_ready(self) -> bool:
        try:
            return get(self.http, self.ready_path)[0] == 200
        except (OSError, http.client.HTTPException):
            return False

    def usage(self) -> Usage:
        cpu: Dict[str, float] = {}
        peak: Dict[str, float] = {}
        for group in self.groups:
            one = group.usage()
            for role, seconds in one.cpu_s.items():
                cpu[role] = cpu.get(role, 0.0) + seconds
            for role, mib in one.peak_mib.items():
                peak[role] = max(peak.get(role, 0.0), mib)
        return Usage(cpu, peak)

    def stop(self) -> None:
        for group in reversed(self.groups):
            group.stop()
        self.groups = []


def get(address: str, path: str, timeout: float = 5) -> Tuple[int, bytes]:
    """Status and body of a GET."""
    connection = http.client.HTTPConnection(address, timeout=timeout)
    try:
        connection.request("GET", path)
        answer = connection.getresponse()
        return answer.status, answer.read()
    finally:
        connection.close()


def post(address: str, request: HttpRequest, timeout: float = 120) -> Tuple[int, Mapping[str, str], bytes]:
    """Status, headers (lower case) and body of one request's answer."""
    connection = http.client.HTTPConnection(address, timeout=timeout)
    try:
        connection.request("POST", request.path, request.body, dict(request.headers))
        answer = connection.getresponse()
        return answer.status, {name.lower(): value for name, value in answer.getheaders()}, answer.read()
    finally:
        connection.close()


def labels(headers: Mapping[str, str], body: bytes) -> List[int]:
    """The predicted digits in any of the servers' answers.

    Raises:
        ValueError: the answer has none of the known forms.
    """
    length = headers.get("inference-header-content-length")
    if length is not None:
        outputs = json.loads(body[: int(length)])["outputs"]
        size = outputs[0]["parameters"]["binary_data_size"]
        tail = body[int(length) : int(length) + size]
        return [int.from_bytes(tail[at : at + 8], "little") for at in range(0, len(tail), 8)]
    answer: Any = json.loads(body)
    if isinstance(answer, int):
        return [answer]
    if isinstance(answer, list):
        return [int(label) for label in answer]
    if "predictions" in answer:
        return [int(label) for label in answer["predictions"]]
    if "outputs" in answer:
        return [int(label) for output in answer["outputs"] for label in output["data"]]
    if answer and all(key.isdigit() for key in answer):  # TorchServe's image_classifier: probabilities by class
        return [int(max(answer, key=lambda key: float(answer[key])))]
    raise ValueError(f"not an answer with labels: {body[:200]!r}")
