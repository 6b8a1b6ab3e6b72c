"""key_file.json: as TorchServe writes it, changed, broken, absent; and no key in anything printed."""

from __future__ import annotations

import json
import os
import time
from contextlib import suppress
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from kserve_wrapper.torchserve.tokens import KeyFile, find, parse


def content(inference: str = "4Elqfe-x", expires: str = "2126-11-22T23:30:21.728145623Z") -> str:
    keys: Any = {
        "management": {"key": "9G_acNJ-", "expiration time": "2126-11-22T23:30:21.728151959Z"},
        "inference": {"key": inference, "expiration time": expires},
        "API": {"key": "bRJaglBD"},
    }
    return json.dumps(keys, indent=2)


def test_each_purpose_has_its_key(tmp_path: Path) -> None:
    path = tmp_path / "key_file.json"
    path.write_text(content())
    keys = KeyFile(path)
    assert keys.headers("inference") == {"Authorization": "Bearer 4Elqfe-x"}
    assert keys.headers("management") == {"Authorization": "Bearer 9G_acNJ-"}
    assert keys.key("API") == "bRJaglBD"
    assert keys.expiring() == ()


def test_a_file_that_appears_changes_and_goes(tmp_path: Path) -> None:
    path = tmp_path / "key_file.json"
    keys = KeyFile(path)
    assert keys.headers("inference") == {}
    path.write_text(content())
    assert keys.key("inference") == "4Elqfe-x"
    path.write_text(content(inference="another1"))
    os.utime(path, ns=(1, 1))
    assert keys.key("inference") == "another1"
    path.unlink()
    assert keys.key("inference") is None


def test_half_a_file_leaves_the_keys_that_were_there(tmp_path: Path) -> None:
    path = tmp_path / "key_file.json"
    path.write_text(content())
    keys = KeyFile(path)
    path.write_text(content()[:60])
    assert keys.key("inference") == "4Elqfe-x"
    assert keys.problem is not None
    path.write_text(content(inference="whole-01"))
    assert keys.key("inference") == "whole-01"
    assert keys.problem is None


def test_renewed_in_the_last_quarter_of_its_time(tmp_path: Path) -> None:
    path = tmp_path / "key_file.json"
    soon = time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime(time.time() + 40))
    path.write_text(content(expires=soon))
    keys = KeyFile(path)
    # 40 seconds are all that it has: not yet.
    assert keys.expiring() == ()
    found = keys._keys["inference"]
    assert found.expires is not None
    assert not found.expiring(found.expires - 11)
    assert found.expiring(found.expires - 9)
    path.write_text(content(expires="2020-01-01T00:00:00.5Z"))
    keys.refresh(force=True)
    assert keys.expiring() == ("inference",)


def test_one_process_renews(tmp_path: Path) -> None:
    path = tmp_path / "key_file.json"
    first, second = KeyFile(path), KeyFile(path)
    with first.lock() as mine, second.lock() as other:
        assert (mine, other) == (True, False)
    with second.lock() as mine:
        assert mine
    assert oct((tmp_path / "key_file.json.lock").stat().st_mode & 0o777) == "0o600"


def test_where_it_is_looked_for(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    assert find({}, disabled=False).path == tmp_path / "key_file.json"
    assert find({"TS_KSERVE_KEY_FILE": "/run/k"}, disabled=False).path == Path("/run/k")
    assert find({"TS_KSERVE_KEY_FILE": ""}, disabled=False).path is None
    assert find({"TS_KSERVE_KEY_FILE": "/run/k"}, disabled=True).path is None


def test_no_key_is_printed(tmp_path: Path) -> None:
    path = tmp_path / "key_file.json"
    path.write_text(content())
    assert "4Elqfe" not in repr(parse(path.read_bytes()))
    path.write_text(content(inference="bad\nkey"))
    keys = KeyFile(path)
    assert keys.problem is not None
    assert "bad" not in keys.problem


@given(st.one_of(st.binary(max_size=60), st.text(max_size=60).map(str.encode)))
def test_anything_else_is_refused_quietly(raw: bytes) -> None:
    with suppress(ValueError):
        assert parse(raw) == {}


JSON = st.recursive(
    st.none() | st.booleans() | st.floats() | st.integers() | st.text(max_size=8),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=8), inner, max_size=3),
    max_leaves=8,
)


@given(st.dictionaries(st.sampled_from(["inference", "management", "API"]), JSON))
def test_other_shapes_are_refused(value: Any) -> None:
    with suppress(ValueError):
        assert set(parse(json.dumps(value).encode())) == set(value)


@given(st.sampled_from(["inference", "API"]), st.text(min_size=1, max_size=10))
def test_a_key_is_safe_in_a_header(purpose: str, text: str) -> None:
    raw = json.dumps({purpose: {"key": text}}).encode()
    try:
        key = parse(raw)[purpose]
    except ValueError:
        assert any(not "!" <= c <= "~" for c in text)
    else:
        assert key.text.isascii()
        assert key.text.isprintable()
        assert " " not in key.text
