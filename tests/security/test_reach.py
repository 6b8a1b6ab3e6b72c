"""Who reaches what: TorchServe's addresses, its management API, its keys and its files."""

from __future__ import annotations

import json
import stat
from pathlib import Path

import pytest

from tests.faults.pod import Pod, descendants
from tests.security.raw import request, statuses, talk

PREDICT = "/v1/models/faulty:predict"
ROW = json.dumps({"instances": ["echo:x"]}).encode()


def listening(pid: int) -> set[str]:
    """Addresses that a process listens at over TCP, as the kernel writes them."""
    inodes = set()
    for link in Path(f"/proc/{pid}/fd").iterdir():
        try:
            target = str(link.readlink())
        except OSError:
            continue
        if target.startswith("socket:["):
            inodes.add(target[8:-1])
    found = set()
    for table in ("tcp", "tcp6"):
        for line in Path(f"/proc/{pid}/net/{table}").read_text().splitlines()[1:]:
            fields = line.split()
            if fields[3] == "0A" and fields[9] in inodes:
                found.add(fields[1].rpartition(":")[0])
    return found


LOOPBACK = {"0100007F", "00000000000000000000000001000000", "0000000000000000FFFF00000100007F"}


def test_torchserve_and_its_workers_listen_on_loopback_alone(plain_pod: Pod) -> None:
    assert listening(plain_pod.torchserve) <= LOOPBACK
    assert listening(plain_pod.torchserve)
    for worker in descendants(plain_pod.torchserve):
        assert listening(worker) <= LOOPBACK


@pytest.mark.parametrize(
    "path",
    [
        *("/models", "/models/faulty", "/api-description", "/ping", "/token?type=management", "/workflows"),
        *("/predictions/faulty", "/v2/models/..%2f..%2fmodels", "/v1/models/..%2fmodels", "/v2/models/%2e%2e/models"),
        *("/v1/models/..%5cmodels:predict", "//models", "/v2/../models", "/v1/models/faulty/../../models"),
        "http://127.0.0.1:{management}/models",
    ],
)
def test_management_is_not_reachable_through_the_wrapper(plain_pod: Pod, path: str) -> None:
    port = plain_pod.management.rpartition(":")[2]
    for method in ("GET", "POST", "DELETE", "PUT", "OPTIONS", "CONNECT"):
        answer = talk(plain_pod, request(path.format(management=port), method=method))
        assert statuses(answer)[0] in (400, 404, 405), answer[:300]
        assert b"modelUrl" not in answer


def test_model_control_is_off_unless_enabled(plain_pod: Pod) -> None:
    """To load what is loaded is no change; nothing else is done."""
    for model, verb in (("faulty", "unload"), ("mnist", "load"), ("mnist", "unload")):
        answer = talk(plain_pod, request(f"/v2/repository/models/{model}/{verb}", b"{}"))
        assert statuses(answer)[0] in (403, 404, 405, 501, 503), answer
    assert statuses(talk(plain_pod, request(PREDICT, ROW))) == [200]
    assert statuses(talk(plain_pod, request("/v1/models/mnist", method="GET"))) == [404]


def test_keys_and_worker_sockets_lie_in_a_private_directory(plain_pod: Pod) -> None:
    run = Path(f"/proc/{plain_pod.torchserve}/cwd").readlink()
    assert stat.S_IMODE(run.stat().st_mode) == 0o700
    assert stat.S_IMODE((run / "key_file.json").stat().st_mode) == 0o600
    assert list((run / "tmp").glob(".ts.sock*"))


def test_keys_are_neither_logged_nor_answered(plain_pod: Pod) -> None:
    run = Path(f"/proc/{plain_pod.torchserve}/cwd").readlink()
    keys = [fields["key"] for fields in json.loads((run / "key_file.json").read_text()).values()]
    assert len(keys) == 3
    answers = [talk(plain_pod, request(path, ROW)) for path in (PREDICT, "/v1/models/nobody:predict", "/")]
    answers.append(talk(plain_pod, request("/metrics", method="GET")))
    for key in keys:
        assert key not in plain_pod.text()
        assert not any(key.encode() in answer for answer in answers)


def test_a_clients_key_does_not_travel(plain_pod: Pod) -> None:
    """A client's Authorization is not TorchServe's: neither used nor passed on, right or wrong."""
    assert statuses(talk(plain_pod, request(PREDICT, ROW, "Authorization: Bearer wrong"))) == [200]
