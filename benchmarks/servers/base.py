"""What all servers under test have in common."""

from __future__ import annotations

import contextlib
import http.client
import json
import signal
import time
from abc import ABC, abstractmethod
from pathlib import Path
from typing import TYPE_CHECKING, Any, Callable, Dict, Iterator, List, Mapping, Optional, Sequence, Tuple

import numpy as np

from benchmarks.payloads import HttpRequest
from benchmarks.processes import ProcessGroup, Usage, wait_until

if TYPE_CHECKING:
    from benchmarks.cases import Case

#: Makes one request of some images.
Build = Callable[[Sequence[bytes]], HttpRequest]
GrpcBuild = Callable[[Sequence[bytes]], bytes]
#: Seconds that a server has for what fell due while it was held still.
AWAKE_S = 0.2


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
    #: Its V2 model that takes tensors.
    tensor_model = "mnist"
    #: Whether it goes on as before once it was held still.
    can_be_held = True
    #: Whether others of its run are up, see ``turn``.
    beside_others = False

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

    def expected_answers(self, contents: Sequence[bytes]) -> np.ndarray[Any, Any]:
        """The right answers of another model than MNIST: classes [rows], or vectors [rows, width]."""
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

    @contextlib.contextmanager
    def turn(self) -> Iterator[None]:
        """While it is this server's turn. Beside others it is held still before and after.

        An idle server takes processors too: it polls queues, looks after its processes, collects its garbage.
        """
        self._signal(signal.SIGCONT)
        if self._held:
            time.sleep(AWAKE_S)
        try:
            yield
        finally:
            self.rest()

    def rest(self) -> None:
        """Out of its turn."""
        self._signal(signal.SIGSTOP)

    @property
    def _held(self) -> bool:
        return self.beside_others and self.can_be_held

    def _signal(self, number: int) -> None:
        if self._held:
            for group in self.groups:
                group.signal(number)

    def stop(self) -> None:
        self._signal(signal.SIGCONT)
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
    """The predicted classes in any of the servers' answers. Raises ValueError as ``numbers``."""
    found: List[int] = numbers(headers, body).astype(np.int64).ravel().tolist()
    return found


def numbers(headers: Mapping[str, str], body: bytes) -> np.ndarray[Any, Any]:
    """The answer's numbers: classes [rows], or vectors [rows, width].

    Raises:
        ValueError: the answer has none of the known forms.
    """
    length = headers.get("inference-header-content-length")
    if length is not None:
        (output, *_) = json.loads(body[: int(length)])["outputs"]
        size = output["parameters"]["binary_data_size"]
        data = body[int(length) : int(length) + size]
        return raw_numbers(output.get("datatype", "INT64"), output.get("shape", [-1]), data)
    answer: Any = json.loads(body)
    if isinstance(answer, int):
        return np.array([answer])
    if isinstance(answer, list) and answer and isinstance(answer[0], float):  # one vector, of TorchServe alone
        return np.array([answer])
    if isinstance(answer, list):
        return np.array(answer)
    if "predictions" in answer:
        return np.array([_best(one) if isinstance(one, dict) else one for one in answer["predictions"]])
    if "outputs" in answer:
        return np.concatenate([np.array(output["data"]) for output in answer["outputs"]])
    if answer and all(key.isdigit() for key in answer):
        return np.array([_best(answer)])
    raise ValueError(f"not an answer with numbers: {body[:200]!r}")


def _best(probabilities: Mapping[str, Any]) -> int:
    """The class of an answer of TorchServe's image_classifier: probabilities by class."""
    return int(max(probabilities, key=lambda key: float(probabilities[key])))


def raw_numbers(datatype: str, shape: Sequence[int], data: bytes) -> np.ndarray[Any, Any]:
    """A tensor of V2's raw form: INT64, FP32, or BYTES that hold decimal numbers."""
    if datatype == "BYTES":
        found, at = [], 0
        while at < len(data):
            size = int.from_bytes(data[at : at + 4], "little")
            found.append(int(data[at + 4 : at + 4 + size]))
            at += 4 + size
        return np.array(found)
    return np.frombuffer(data, {"INT64": "<i8", "FP32": "<f4"}[datatype]).reshape(shape)
