"""The command line: flags, variables, their order, --help, and what is refused."""

from __future__ import annotations

import dataclasses
from pathlib import Path
from typing import Any, Dict, List

import pytest

from kserve_wrapper import cli
from kserve_wrapper.settings import IGNORED, Settings, flag, options, variable


def parse(*arguments: str, **environ: str) -> Settings:
    return cli.parse(arguments, environ)


def test_without_anything_the_defaults_hold() -> None:
    assert parse() == Settings()
    assert (Settings().http_port, Settings().grpc_port) == (8080, 8081)


@pytest.mark.parametrize(
    ("arguments", "expected"),
    [
        (["--http_port", "9000"], {"http_port": 9000}),
        (["--http_port=9000", "--grpc_port=9001"], {"http_port": 9000, "grpc_port": 9001}),
        (["--enable_grpc", "false"], {"enable_grpc": False}),
        (["--enable_grpc=no"], {"enable_grpc": False}),
        (["--enable_docs_url"], {"enable_docs_url": True}),
        (["--enable_docs_url", "true"], {"enable_docs_url": True}),
        (["--timeout-keep-alive", "5"], {"timeout_keep_alive": 5}),
        (["--timeout_keep_alive", "5"], {"timeout_keep_alive": 5}),
        (["--request_timeout", "1.5"], {"request_timeout": 1.5}),
        (["--access_log_format", "%(h)s"], {"access_log_format": "%(h)s"}),
        (["--ssl_certfile", "a", "--ssl_keyfile", "b"], {"ssl_certfile": "a", "ssl_keyfile": "b"}),
        (["--grpc_max_send_message_length", "1000"], {"grpc_max_send_message_length": 1000}),
        (["--workers", "2"], {"workers": 2}),
    ],
)
def test_flags(arguments: List[str], expected: Dict[str, Any]) -> None:
    assert parse(*arguments) == dataclasses.replace(Settings(), **expected)


def test_a_flag_beats_its_variable() -> None:
    assert parse(TS_KSERVE_HTTP_PORT="9000").http_port == 9000
    assert parse("--http_port", "9001", TS_KSERVE_HTTP_PORT="9000").http_port == 9001
    assert parse(TS_KSERVE_ENABLE_GRPC="off").enable_grpc is False
    assert parse(CONFIG_PATH="/x").config_path == "/x"
    assert parse(CONFIG_PATH="").config_path == Settings().config_path
    assert parse(MODEL_LOAD_MAX_TRY="3", MODEL_LOAD_CUSTOMIZED="true").model_load_max_try == 3


def test_other_variables_mean_nothing() -> None:
    assert parse(PROTOCOL_VERSION="v2", HTTP_PORT="1", TS_KSERVE_UNKNOWN="x") == Settings()


@pytest.mark.parametrize("name", [name for name, _ in IGNORED])
def test_flags_of_kserve_without_meaning_here_are_taken(name: str) -> None:
    assert parse(f"--{name}", "x") == Settings()


@pytest.mark.parametrize(
    ("arguments", "environ", "named"),
    [
        (["--nonsense"], {}, "--nonsense"),
        (["--http_port", "x"], {}, "--http_port"),
        (["--http_port", "-1"], {}, "--http_port"),
        (["--http_port", "65536"], {}, "--http_port"),
        (["--http_port", "80", "--grpc_port", "80"], {}, "must differ"),
        (["--workers", "0"], {}, "--workers"),
        (["--request_timeout", "nan"], {}, "--request_timeout"),
        (["--request_timeout", "inf"], {}, "--request_timeout"),
        (["--drain_timeout", "-1"], {}, "--drain_timeout"),
        (["--enable_grpc", "perhaps"], {}, "--enable_grpc"),
        (["--ssl_keyfile", "k"], {}, "--ssl_certfile"),
        (["--http"], {}, "--http"),
        (["--ssl_certfile", "c", "--ssl_keyfile_password", "p"], {}, "decrypt"),
        (["--forward_headers", "cookie,Connection"], {}, "--forward_headers cookie,Connection: header connection"),
        ([], {"TS_KSERVE_FORWARD_HEADERS": "host"}, "--forward_headers host: header host belongs to one connection"),
        ([], {"TS_KSERVE_HTTP_PORT": "x"}, "TS_KSERVE_HTTP_PORT"),
        ([], {"TS_KSERVE_REQUEST_TIMEOUT": "soon"}, "TS_KSERVE_REQUEST_TIMEOUT"),
        ([], {"TS_KSERVE_ENABLE_GRPC": "perhaps"}, "TS_KSERVE_ENABLE_GRPC"),
    ],
)
def test_what_makes_no_sense_is_named(
    arguments: List[str], environ: Dict[str, str], named: str, capsys: pytest.CaptureFixture[str]
) -> None:
    with pytest.raises(SystemExit) as caught:
        cli.parse(arguments, environ)
    assert caught.value.code == 2
    said = capsys.readouterr().err
    assert named in said
    # The mistake alone, not the usage of all flags before it.
    assert said.count("\n") == 1


def test_help_tells_every_setting_with_unit_default_and_variable(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as caught:
        parse("--help")
    assert caught.value.code == 0
    text = " ".join(capsys.readouterr().out.split())
    for item in options():
        assert flag(item) in text
        assert variable(item) in text
        assert item.metadata["unit"] in text
    assert "default 8080" in text


def test_the_table_has_a_row_for_each_setting() -> None:
    rows = cli.table().splitlines()[2:]
    assert len(rows) == len(options())
    for item, row in zip(options(), rows):
        assert f"`{flag(item)}`" in row
        assert f"`{variable(item)}`" in row
        assert row.count(" | ") == 4


def test_the_documentation_is_up_to_date() -> None:
    written = (Path(__file__).resolve().parents[3] / "docs" / "settings.md").read_text()
    assert written == cli.document(), "run: python -m kserve_wrapper.cli > docs/settings.md"


def test_variables_are_distinct() -> None:
    names = [variable(item) for item in options()]
    assert len(set(names)) == len(names)
