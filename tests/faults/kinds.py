"""The questions of the load: every kind of request, good and poisoned, each with its own right answer."""

from __future__ import annotations

import itertools
import json
import random
from dataclasses import dataclass
from functools import cache
from typing import Any, Callable, Iterator, Optional, Sequence

import grpc
from tritonclient.grpc import service_pb2, service_pb2_grpc

from tests.faults.load import Question, read_refusal
from tests.faults.wire import HttpClient, Lost
from tests.samples import images, predicted
from tests.serving.mixed import Probe, probes

FAULTY = "/v1/models/faulty:predict"
JSON = {"Content-Type": "application/json"}
_number = itertools.count()


@dataclass(frozen=True)
class Http:
    """A probe of the serving tests, asked over a kept connection."""

    probe: Probe

    @property
    def kind(self) -> str:
        return self.probe.kind

    async def ask(self, client: HttpClient) -> Optional[str]:
        status, body, headers = await client.send("POST", self.probe.path, self.probe.body, self.probe.headers)
        refusal = read_refusal(status, body)
        if refusal is None:
            self.probe.check(status, body, headers)
        return refusal


@dataclass(frozen=True)
class Rows:
    """Rows for the faulty handler: which status they must get, and with status 200 the rows themselves."""

    kind: str
    rows: Sequence[str]
    status: int = 200
    path: str = FAULTY

    async def ask(self, client: HttpClient) -> Optional[str]:
        body = json.dumps({"instances": self.rows}).encode()
        status, answer, _ = await client.send("POST", self.path, body, JSON)
        refusal = read_refusal(status, answer)
        if refusal is not None and self.status != status:
            return refusal
        assert status == self.status, (status, answer[:400])
        document = json.loads(answer)
        if status == 200:
            assert document == {"predictions": list(self.rows)}, (self.rows, answer[:400])
        else:
            assert document["error"], answer
        return None


@dataclass(frozen=True)
class TextRows:
    """The same as V2 BYTES, whose id must come back."""

    kind: str
    rows: Sequence[str]

    async def ask(self, client: HttpClient) -> Optional[str]:
        name = self.rows[0]
        tensor = {"name": "text", "shape": [len(self.rows)], "datatype": "BYTES", "data": self.rows}
        body = json.dumps({"id": name, "inputs": [tensor]}).encode()
        status, answer, _ = await client.send("POST", "/v2/models/faulty/infer", body, JSON)
        refusal = read_refusal(status, answer)
        if refusal is None:
            assert status == 200, (status, answer[:400])
            document = json.loads(answer)
            assert document["id"] == name, (name, answer[:400])
            told = [row for output in document["outputs"] for row in output["data"]]
            assert told == list(self.rows), (self.rows, answer[:400])
        return refusal


_RETRY = {grpc.StatusCode.UNAVAILABLE, grpc.StatusCode.DEADLINE_EXCEEDED, grpc.StatusCode.RESOURCE_EXHAUSTED}


class Grpc:
    """One ModelInfer of some sample images as raw tensor data."""

    kind = "grpc"

    def __init__(self, stub: Any, picks: Sequence[int], poisoned: bool = False) -> None:
        self._stub, self._picks, self._poisoned = stub, list(picks), poisoned
        self._id = f"grpc-{next(_number)}"

    def _message(self) -> Any:
        message = service_pb2.ModelInferRequest(model_name="mnist", id=self._id)
        tensor = message.inputs.add(name="input-0", datatype="UINT8")
        tensor.shape.extend([len(self._picks), 1, 28, 28])
        raw = images()[self._picks].tobytes()
        message.raw_input_contents.append(raw[:-1] if self._poisoned else raw)
        return message

    async def ask(self, client: HttpClient) -> Optional[str]:
        try:
            answer = await self._stub.ModelInfer(self._message(), timeout=60)
        except grpc.aio.AioRpcError as error:
            if self._poisoned and error.code() == grpc.StatusCode.INVALID_ARGUMENT:
                return None
            cause = str(error.details())
            if error.code() in _RETRY and not cause.startswith(("Socket closed", "recvmsg", "Stream removed")):
                return f"{error.code().name} {cause}"
            raise (Lost if error.code() == grpc.StatusCode.UNAVAILABLE else AssertionError)(repr(error)) from error
        assert not self._poisoned, f"poisoned, and answered {answer}"
        assert answer.id == self._id
        wanted = b"".join(predicted()[pick].to_bytes(8, "little") for pick in self._picks)
        assert list(answer.raw_output_contents) == [wanted], answer
        return None


@cache
def mnist_probes() -> list[Question]:
    """Every kind of request to the digit classifier, poisoned ones among them; one to five rows."""
    return [Http(probe) for probe in probes(400, seed=1)]


def echo(source: random.Random) -> Question:
    rows = [f"echo:{next(_number)}" for _ in range(source.randint(1, 4))]
    return TextRows("v2 text", rows) if source.random() < 0.5 else Rows("v1 text", rows)


def poison(source: random.Random) -> Question:
    """Rows that a stock handler fails on as a whole: the requests that shared a batch must not notice."""
    rows = [f"echo:{next(_number)}" for _ in range(source.randint(0, 2))]
    kind, status = source.choice([("refuse", 400), ("raise", 500)])
    return Rows(f"v1 text, told to {kind}", [*rows, f"{kind}:{next(_number)}"], status)


def mixed(stub: Any = None) -> Callable[[int], Iterator[Question]]:
    """Everything: two thirds for the digit classifier, a third for the faulty handler, some over gRPC.

    Args:
        stub: of a gRPC channel, or None for HTTP alone.
    """

    def stream(number: int) -> Iterator[Question]:
        source = random.Random(number)
        while True:
            lot = source.random()
            if lot < 0.03:
                yield poison(source)
            elif lot < 0.35:
                yield echo(source)
            elif lot < 0.5 and stub is not None:
                picks = source.sample(range(len(images())), source.randint(1, 5))
                yield Grpc(stub, picks, source.random() < 0.1)
            else:
                yield source.choice(mnist_probes())

    return stream


def echoes(number: int) -> Iterator[Question]:
    """Only rows that come back as they went."""
    source = random.Random(number)
    while True:
        yield echo(source)


def digits(number: int) -> Iterator[Question]:
    """One image after the other, V1: cheap, and known answers."""
    source = random.Random(number)
    good = [question for question in mnist_probes() if question.kind in ("v1 predict", "v2 binary")]
    while True:
        yield source.choice(good)


def stub_of(port: int) -> Any:
    """A stub on a channel of its own; ``grpc.aio``, so to be made in the event loop."""
    return service_pb2_grpc.GRPCInferenceServiceStub(grpc.aio.insecure_channel(f"127.0.0.1:{port}"))
