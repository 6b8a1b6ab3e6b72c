"""The supervisor's command line, as KServe and people write it."""

from __future__ import annotations

from pathlib import Path

import pytest

from kserve_wrapper.supervisor.options import DEFAULT_CONFIG, WrapperFlags, parse


def test_what_kserve_passes() -> None:
    chosen = parse(
        [
            "torchserve",
            "--start",
            "--model-store=/mnt/models/model-store",
            "--ts-config=/mnt/models/config/config.properties",
        ],
        {},
    )
    assert chosen.config_path == Path("/mnt/models/config/config.properties")
    assert chosen.arguments == {"model_store": "/mnt/models/model-store"}
    assert chosen.settings == {}
    assert chosen.wrapper == []
    assert (chosen.drain_timeout, chosen.hang_limit, chosen.expose) == (25.0, 60.0, ())


def test_nothing_at_all_is_a_pod() -> None:
    assert parse([], {}).config_path == Path(DEFAULT_CONFIG)
    assert parse([], {"CONFIG_PATH": "/x"}).config_path == Path("/x")
    assert parse(["--ts-config=/y"], {"CONFIG_PATH": "/x"}).config_path == Path("/y")
    assert parse(["--ts-config=/y"], {"TS_CONFIG_FILE": "/z"}).config_path == Path("/z")


def test_torchserves_arguments() -> None:
    chosen = parse(
        ["torchserve", "--models", "a=a.mar", "b.mar", "--disable-token-auth", "--enable-model-api", "--ncs"], {}
    )
    assert chosen.arguments == {
        "load_models": "a=a.mar,b.mar",
        "disable_token_authorization": "true",
        "enable_model_api": "true",
    }


def test_the_rest_is_the_wrappers() -> None:
    chosen = parse(["--expose", "metrics", "--set", "a=b=c", "--", "--http_port", "9000", "--", "x"], {})
    assert chosen.wrapper == ["--http_port", "9000", "--", "x"]
    assert chosen.settings == {"a": "b=c"}
    assert chosen.expose == ("metrics",)
    assert parse(["--expose", "all"], {}).expose == ("inference", "management", "metrics")


@pytest.mark.parametrize(
    "arguments",
    [["--http_port", "1"], ["--set", "a"], ["--drain_timeout", "0"], ["--drain_timeout", "x"], ["--expose", "grpc"]],
)
def test_a_wrong_option_starts_nothing(arguments: list[str], capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as ended:
        parse(arguments, {})
    assert ended.value.code == 2
    assert "error" in capsys.readouterr().err


@pytest.mark.parametrize("argument", [["--http_port", "28080"], ["--http_port=28080"], ["--log-level", "DEBUG"]])
def test_a_flag_of_the_wrapper_in_the_wrong_place(argument: list[str], capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit):
        parse(argument, {})
    assert f"Wrapper flags go after --, at the end: -- {' '.join(argument)}" in capsys.readouterr().err
    with pytest.raises(SystemExit):
        parse(["--nonsense"], {})
    assert "go after --" not in capsys.readouterr().err


@pytest.mark.parametrize(
    ("flags", "environ", "said"),
    [
        (["--http_port", "99999"], {}, "--http_port must be 65535 or less"),
        (["--http_prt", "1"], {}, "unrecognized arguments: --http_prt 1"),
        (["--http_port", "many"], {}, "invalid int value: 'many'"),
        ([], {"TS_KSERVE_GRPC_PORT": "x"}, "TS_KSERVE_GRPC_PORT: 'x'"),
    ],
)
def test_what_the_wrapper_would_refuse_starts_nothing(
    flags: list[str], environ: dict[str, str], said: str, capsys: pytest.CaptureFixture[str]
) -> None:
    with pytest.raises(SystemExit) as ended:
        WrapperFlags(flags, environ)
    assert ended.value.code == 2
    assert said in capsys.readouterr().err


def test_where_the_wrapper_is_asked() -> None:
    flags = WrapperFlags(["--http_port=9000", "--host", "10.0.0.7"], {"TS_KSERVE_GRPC_PORT": "9001"})
    assert flags.ports() == {"http_port": 9000, "grpc_port": 9001}
    assert flags.host() == "10.0.0.7"
    assert not flags.tls()
    assert flags.drain_delay() == 0
    assert WrapperFlags([], {"TS_KSERVE_DRAIN_DELAY": "5"}).drain_delay() == 5
    assert WrapperFlags([], {}).ports() == {"http_port": 8080, "grpc_port": 8081}
    assert WrapperFlags(["--host", "0.0.0.0"], {}).host() == "127.0.0.1"
    assert WrapperFlags(["--ssl_certfile", "x"], {}).tls()
    assert WrapperFlags([], {"TS_KSERVE_SSL_CERTFILE": "x"}).tls()


def test_a_free_port_is_handed_on() -> None:
    flags = WrapperFlags(["--http_port", "0"], {})
    ports = flags.ports()
    assert ports["http_port"] > 0
    assert flags.chosen_ports(ports) == [f"--http_port={ports['http_port']}"]
