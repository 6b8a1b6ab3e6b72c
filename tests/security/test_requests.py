"""What a client's bytes can do on their way: smuggling, injection, echoes, escapes in logs."""

from __future__ import annotations

import gzip
import json

import pytest

from tests.faults.pod import Pod
from tests.security.raw import request, statuses, talk

PREDICT = "/v1/models/faulty:predict"
ROW = json.dumps({"instances": ["echo:x"]}).encode()
INNER = b"GET /smuggled HTTP/1.1\r\nHost: x\r\n\r\n"


def raw(*lines: str, body: bytes = b"") -> bytes:
    return "\r\n".join([f"POST {PREDICT} HTTP/1.1", "Host: x", *lines, "\r\n"]).encode("latin-1") + body


CHUNKED = b"%x\r\n%b\r\n0\r\n\r\n" % (len(ROW), ROW)
SMUGGLING = {
    "length and chunks": raw(f"Content-Length: {len(CHUNKED)}", "Transfer-Encoding: chunked", body=CHUNKED + INNER),
    "two lengths": raw(f"Content-Length: {len(ROW)}", "Content-Length: 0", body=ROW + INNER),
    "a length with a sign": raw(f"Content-Length: +{len(ROW)}", body=ROW + INNER),
    "a negative length": raw("Content-Length: -1", body=ROW + INNER),
    "a length beyond 64 bits": raw("Content-Length: 18446744073709551617", body=ROW + INNER),
    "a list of lengths": raw(f"Content-Length: {len(ROW)}, {len(ROW)}", body=ROW + INNER),
    "an unknown coding": raw("Transfer-Encoding: chunked, xchunked", body=CHUNKED + INNER),
    "a blank before the colon": raw(f"Content-Length : {len(ROW)}", body=ROW + INNER),
    "a chunk size beyond 64 bits": raw("Transfer-Encoding: chunked", body=b"1" + b"0" * 16 + b"\r\n" + ROW + INNER),
    "a chunk size with a sign": raw("Transfer-Encoding: chunked", body=b"+5\r\nhello\r\n0\r\n\r\n" + INNER),
    "a line feed alone": raw(f"Content-Length: {len(ROW)}", "X: a\nTransfer-Encoding: chunked", body=ROW + INNER),
}


@pytest.mark.parametrize("data", SMUGGLING.values(), ids=SMUGGLING.keys())
def test_no_request_hides_in_another(plain_pod: Pod, data: bytes) -> None:
    """Where two parsers may disagree on where a request ends, it is refused, and nothing behind it is answered."""
    got = statuses(talk(plain_pod, data, 2.0))
    assert got[:1] == [400] or got == [], got
    assert len(got) <= 1
    assert b"smuggled" not in talk(plain_pod, data, 1.0)


@pytest.mark.parametrize("header", ["X-Request-Id", "traceparent", "tracestate", "X-Forwarded-For", "explain", "data"])
@pytest.mark.parametrize("value", ["a\rX-Injected: 1", "a\x00b", "%0d%0aX-Injected: 1", "é" * 10, "x" * 2000])
def test_header_values_inject_nothing(plain_pod: Pod, header: str, value: str) -> None:
    """Neither into the answer nor into the request that goes to TorchServe, which must still be answered rightly."""
    answer = talk(plain_pod, request(PREDICT, ROW, f"{header}: {value}"))
    assert statuses(answer)[0] in (200, 400)
    assert b"\r\nX-Injected" not in answer
    assert b"\rX-Injected" not in answer


MARK = "mark7c1f"


def test_no_request_header_comes_back(plain_pod: Pod) -> None:
    names = [
        *("Cookie", "Authorization", "User-Agent", "Referer", "Origin", "X-Custom", "X-Forwarded-Host", "Accept"),
        *("traceparent", "tracestate", "Access-Control-Request-Headers", "Content-Type", "If-None-Match"),
    ]
    headers = [f"{name}: {MARK}" for name in names]
    for path, body in ((PREDICT, ROW), (PREDICT, b"{"), ("/nowhere", b""), ("/v2/models/faulty/infer", b"{}")):
        answer = talk(plain_pod, request(path, body, *headers))
        assert statuses(answer)
        assert MARK.encode() not in answer


@pytest.mark.parametrize(
    "name",
    [
        *(
            "..",
            ".",
            "%2e%2e",
            "a%2fb",
            "..%2f..%2fetc%2fpasswd",
            "a%5cb",
            "a%00",
            "a%0d%0aX: 1",
            "%zz",
            "%ff",
            "a%3fb=c",
        ),
        *("x" * 9000, "%F0%9F%98%80", "a%20b", "a;b", "faulty%23", "__proto__", "${jndi:ldap://127.0.0.1:1/x}", "%25n"),
    ],
)
def test_model_names_reach_nothing(plain_pod: Pod, name: str) -> None:
    """A name that is no model's is 404, one that is no name 400; on no route anything else."""
    for path in (f"/v1/models/{name}:predict", f"/v2/models/{name}/infer", f"/v2/models/faulty/versions/{name}/infer"):
        answer = talk(plain_pod, request(path, ROW))
        assert statuses(answer)[0] in (400, 404, 405), (path, answer[:200])
        assert b"root:" not in answer


def test_log_lines_are_not_forged(plain_pod: Pod) -> None:
    """Every line of the wrapper stays one JSON object, whatever paths, names and headers hold."""
    forged = '{"level":"ERROR","message":"forged"}'
    talk(plain_pod, request(f"/v1/models/a%0a{forged.replace(' ', '')}:predict", ROW))
    talk(plain_pod, request(f"/x%0a{forged}", b"", f"X-Request-Id: a{forged}", f"User-Agent: \x1b[31m{forged}"))
    talk(plain_pod, request(PREDICT, json.dumps({"instances": ["raise:\n" + forged]}).encode()))
    talk(plain_pod, request("/v2/models/faulty/infer", json.dumps({"id": "\n" + forged, "inputs": []}).encode()))
    ours = [line for line in plain_pod.text().splitlines() if line.startswith('{"time"')]
    assert any("message" in json.loads(line) for line in ours)
    assert not any(line.startswith(forged) for line in plain_pod.text().splitlines())
    assert "\x1b[31m" not in "".join(ours)


def test_compressed_bodies_are_unpacked_within_the_limit(plain_pod: Pod) -> None:
    bomb = gzip.compress(b"0" * 200_000_000)
    for coding, status in (("gzip", 413), ("deflate", 400), ("br", 415), ("gzip, gzip", 415)):
        assert statuses(talk(plain_pod, request(PREDICT, bomb, f"Content-Encoding: {coding}"))) == [status]
    assert statuses(talk(plain_pod, request(PREDICT, gzip.compress(ROW), "Content-Encoding: gzip"))) == [200]


@pytest.mark.parametrize(
    "data",
    [
        b"GET / HTTP/1.1\r\nX: " + b"a" * 100_000 + b"\r\n\r\n",
        b"GET / HTTP/1.1\r\n" + b"X: a\r\n" * 20_000 + b"\r\n",
        b"GET /" + b"a" * 100_000 + b" HTTP/1.1\r\n\r\n",
        b"\x16\x03\x01\x02\x00\x01\x00" + b"\x00" * 500,
        b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n",
        b"GET / HTTP/9.9\r\n\r\n",
        b"\r\n" * 1000 + b"X",
        b"",
    ],
    ids=["a long header", "many headers", "a long path", "TLS", "HTTP/2", "HTTP/9.9", "empty lines", "nothing"],
)
def test_what_is_no_request_is_refused(plain_pod: Pod, data: bytes) -> None:
    answer = talk(plain_pod, data, 7.0)
    assert all(400 <= status < 500 or status == 505 for status in statuses(answer)), answer[:200]
    assert statuses(talk(plain_pod, request(PREDICT, ROW))) == [200]


def test_errors_tell_nothing_of_the_inside(plain_pod: Pod) -> None:
    for row in ("raise:x", "nonsense:x", "short:x"):
        answer = talk(plain_pod, request(PREDICT, json.dumps({"instances": [row]}).encode()))
        for inside in (b"Traceback", b"127.0.0.1", b"org.pytorch", b"Exception", b"/tmp", b"python"):
            assert inside not in answer
