"""Every server must give the network's own answers before its speed counts."""

from __future__ import annotations

import json
from typing import Any, List, Sequence

import numpy as np
import torch

from benchmarks.cases import Case, requests
from benchmarks.images import pixels, pngs
from benchmarks.load.h2load import grpc_call
from benchmarks.payloads import unit_floats
from benchmarks.servers.base import Server, labels, numbers, post, raw_numbers
from benchmarks.servers.peers import MODEL


class WrongAnswer(RuntimeError):
    """A server answered something else than the network; the message says what."""


def expected(images: Sequence[bytes], normalised: bool = True, exact: bool = True) -> List[int]:
    """The network's digits.

    Args:
        normalised: False for servers that feed tensors to the network as they came.
        exact: pixels as they are in the file; else the four decimals that a tensor request carries.
    """
    network = load_network()
    rows = [pixels(image)[None].astype(np.float32) / 255 if exact else unit_floats(image) for image in images]
    batch = torch.from_numpy(np.stack(rows))
    if normalised:
        batch = (batch - 0.1307) / 0.3081
    with torch.inference_mode():
        digits: List[int] = network(batch).argmax(1).tolist()
    return digits


def load_network() -> torch.nn.Module:
    """The trained network, eager, in evaluation mode."""
    import importlib.util

    spec = importlib.util.spec_from_file_location("mnist_network", MODEL / "mnist.py")
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    network: torch.nn.Module = module.MNISTClassifier()
    network.load_state_dict(torch.load(MODEL / "mnist_cnn.pt", weights_only=True))
    return network.eval()


def _check_grpc(server: Server, case: Case) -> None:
    from tritonclient.grpc import service_pb2

    assert server.grpc is not None
    images = case.images()
    answer = service_pb2.ModelInferResponse.FromString(
        grpc_call(server.grpc, server.grpc_forms()[case.form](images)),
    )
    if case.pictures != "digits":
        (output, *_), (raw, *_) = answer.outputs, answer.raw_output_contents
        _compare(server, case, images, raw_numbers(output.datatype, output.shape, raw))
        return
    if answer.raw_output_contents:
        digits = np.frombuffer(answer.raw_output_contents[0], "<i8").tolist()
    else:
        digits = list(answer.outputs[0].contents.int64_contents)
    right = expected(images, server.normalises, exact=False)
    if digits != right:
        raise WrongAnswer(f"{server.name}, {case.name}: {digits} where {right} is right")


def _compare(server: Server, case: Case, contents: Sequence[bytes], given: np.ndarray[Any, Any]) -> None:
    """Classes as they are; of vectors, each number within what another order of adding costs."""
    right, given = server.expected_answers(contents), given.astype(np.float64)  # names of classes are numbers here
    given = given.reshape(right.shape) if given.size == right.size else given
    if given.shape != right.shape or not np.allclose(given, right, rtol=0, atol=1e-3):
        raise WrongAnswer(f"{server.name}, {case.name}: {given.ravel()[:8]} where {right.ravel()[:8]} is right")


def check(server: Server, case: Case) -> None:
    """Sends the case's requests once each and compares.

    Raises:
        WrongAnswer: another digit, a status other than 200, or an explanation of the wrong shape.
    """
    server = server.for_case(case)
    with server.turn():
        _check(server, case)


def _check(server: Server, case: Case) -> None:
    if case.is_grpc:
        _check_grpc(server, case)
        return
    for index, request in enumerate(requests(case, server.forms())):
        status, headers, body = post(server.http, request)
        if status != 200:
            raise WrongAnswer(f"{server.name}, {case.name}: status {status}: {body[:300]!r}")
        if case.form == "explain":
            shape = np.asarray(json.loads(body)["explanations"]).shape
            if shape != (case.rows, 1, 28, 28):
                raise WrongAnswer(f"{server.name}, {case.name}: an explanation of shape {shape}")
        elif case.form not in ("mixed", "ceiling"):
            if case.pictures != "digits":
                _compare(server, case, case.images(index), numbers(headers, body))
                continue
            tensors = case.form in ("v2-json", "v2-binary")
            right = expected(pngs(case.rows, first=index), server.normalises or not tensors, exact=not tensors)
            if labels(headers, body) != right:
                raise WrongAnswer(f"{server.name}, {case.name}: {body[:300]!r} where {right} is right")
