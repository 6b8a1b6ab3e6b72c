"""Files that the wrapper reads: config.properties, its snapshot, key_file.json; and what TorchServe answers."""

from __future__ import annotations

import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from kserve_wrapper.core.calls import V1Call, V2Call
from kserve_wrapper.core.errors import WrapperError
from kserve_wrapper.torchserve import config, metadata, properties, snapshot, tokens
from kserve_wrapper.upstream import address
from kserve_wrapper.upstream.codec import decode_reply
from kserve_wrapper.upstream.connection import Response
from kserve_wrapper.upstream.errors import read_error
from tests.unit.fuzz.hostile import DOCUMENTS, TEXTS, VALUES, fuzz

KEYS = st.sampled_from(
    [
        *("inference_address", "management_address", "metrics_address", "model_store", "model_snapshot", "load_models"),
        *("max_request_size", "max_response_size", "job_queue_size", "default_response_timeout", "vmargs", "models"),
        *("disable_token_authorization", "enable_envvars_config", "certificate_file", "private_key_file", "\\u0041"),
    ]
)
SETTINGS = st.one_of(
    TEXTS,
    st.text(max_size=30),
    st.sampled_from(
        ["http://[::1]:1", "http://a:99999999999999999999", "https://", "unix:/x", "\\u12", "\\", "-5", "1e9"]
    ),
    VALUES.map(json.dumps),
)


@fuzz
@given(lines=st.lists(st.tuples(KEYS, st.sampled_from(["=", ":", " ", "\\\n  ", ""]), SETTINGS), max_size=6))
def test_config_properties(lines: list[tuple[str, str, str]], tmp_path_factory: pytest.TempPathFactory) -> None:
    path = tmp_path_factory.getbasetemp() / "config.properties"
    path.write_text("\n".join("".join(line) for line in lines), encoding="utf-8", errors="replace")
    try:
        config.load(path, {})
    except properties.ConfigError as error:
        assert str(error)


@fuzz
@given(st.one_of(st.text(max_size=200), st.binary(max_size=200).map(lambda raw: raw.decode("latin-1"))))
def test_properties_text(text: str) -> None:
    try:
        entries = properties.parse(text, "file")
    except properties.ConfigError:
        return
    derived = properties.parse(properties.derive(text, {"one": " ä\n\\ü€😀", "two": ""}), "file")
    assert {key: entry.value for key, entry in derived.items() if key not in ("", "one", "two")} == {
        key: entry.value for key, entry in entries.items() if key not in ("", "one", "two")
    }


@fuzz
@given(st.one_of(VALUES.map(json.dumps), TEXTS))
def test_snapshot(text: str) -> None:
    try:
        snapshot.parse(text, 120)
    except ValueError:
        return


@fuzz
@given(st.one_of(TEXTS, st.text(max_size=60)))
def test_address(text: str) -> None:
    try:
        found = address.parse(text, "inference")
    except ValueError:
        return
    assert not any(c.isspace() for c in str(found))


TOKENS = st.dictionaries(
    st.sampled_from(["inference", "management", "API"]),
    st.one_of(
        VALUES,
        st.fixed_dictionaries(
            {"key": st.one_of(TEXTS, VALUES)},
            optional={"expiration time": st.one_of(TEXTS, VALUES, st.just("0001-01-01T00:00:00Z"))},
        ),
    ),
)


@fuzz
@given(st.one_of(TOKENS.map(json.dumps).map(str.encode), st.binary(max_size=80)))
def test_key_file(raw: bytes) -> None:
    try:
        keys = tokens.parse(raw)
    except ValueError as error:
        secrets = [value.get("key") for value in _objects(raw) if isinstance(value, dict)]
        assert not any(isinstance(key, str) and len(key) > 3 and key in str(error) for key in secrets)
        return
    for key in keys.values():
        assert key.text.isascii()
        assert key.text.isprintable()
        assert len(key.text) < 4 or key.text not in repr(key)


def _objects(raw: bytes) -> list[Any]:
    try:
        value = json.loads(raw)
    except (ValueError, RecursionError):
        return []
    return list(value.values()) if isinstance(value, dict) else []


@fuzz
@given(st.one_of(DOCUMENTS.map(json.dumps).map(str.encode), st.binary(max_size=60)), TEXTS)
def test_what_torchserve_answers(body: bytes, length: str) -> None:
    """Whatever a broken worker sends, it is a reply or an error that says so."""
    described = metadata.to_metadata("m", ["1.0"], None)
    for call in (V1Call("m", None, False, [1]), V2Call("m", None, False, [])):
        for headers in ({}, {"inference-header-content-length": length}):
            try:
                decode_reply(call, headers, body)
            except WrapperError as error:
                assert error.status == 502, error.message
        for status in (400, 404, 413, 500, 503, 507, 599):
            assert read_error(call, described, Response(status, {}, body)).message


@fuzz
@given(st.one_of(VALUES, DOCUMENTS))
def test_what_a_handler_describes(told: Any) -> None:
    made = metadata.to_metadata("m", ["1.0"], told if isinstance(told, dict) else None)
    assert made.name == "m"
