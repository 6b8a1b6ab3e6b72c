"""What a supervised TorchServe gets instead of what the file says."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Collection, Dict

from kserve_wrapper.core.sockets import free_port
from kserve_wrapper.supervisor import launch, options
from kserve_wrapper.supervisor.derived_config import log_config, overrides
from kserve_wrapper.supervisor.java import Java
from kserve_wrapper.supervisor.main import prepare
from kserve_wrapper.torchserve import properties
from kserve_wrapper.torchserve.config import load

SHARED = "inference_address=http://0.0.0.0:8085\nmanagement_address=http://0.0.0.0:8085\n"


def changed(folder: Path, text: str, expose: Collection[str] = (), tokens: bool = False) -> Dict[str, str]:
    path = folder / "config.properties"
    path.write_text(text)
    return overrides(load(path, {}), expose, tokens, folder)


def test_addresses_go_to_loopback_and_keep_their_ports(tmp_path: Path) -> None:
    text = SHARED + "metrics_address=https://10.0.0.7:8445\n"
    assert changed(tmp_path, text) == {
        "inference_address": "http://127.0.0.1:8085",
        "management_address": "http://127.0.0.1:8085",
        "metrics_address": "https://127.0.0.1:8445",
    }


def test_what_is_exposed_stays(tmp_path: Path) -> None:
    text = SHARED + "metrics_address=http://0.0.0.0:8082\n"
    assert "metrics_address" not in changed(tmp_path, text, ["metrics"])
    assert changed(tmp_path, text, ["metrics"])["inference_address"] == "http://127.0.0.1:8085"


def test_with_tokens_management_gets_a_port_of_its_own(tmp_path: Path) -> None:
    found = changed(tmp_path, SHARED, ["management"], tokens=True)["management_address"]
    assert found.startswith("http://127.0.0.1:")
    assert not found.endswith(":8085")
    off = changed(tmp_path, SHARED + "disable_token_authorization=true\n", tokens=True)
    assert off["management_address"] == "http://127.0.0.1:8085"


def test_relative_paths_become_absolute(tmp_path: Path) -> None:
    found = changed(tmp_path, "model_store=store\nmetrics_config=/abs/metrics.yaml\n")
    assert found["model_store"] == str(tmp_path / "store")
    assert "metrics_config" not in found


def test_metrics_beside_the_file_are_taken(tmp_path: Path) -> None:
    assert "metrics_config" not in changed(tmp_path, "")
    (tmp_path / "metrics.yaml").touch()
    assert changed(tmp_path, "")["metrics_config"] == str(tmp_path / "metrics.yaml")


def test_the_log_file_named_beside_or_our_own(tmp_path: Path) -> None:
    config = tmp_path / "config.properties"
    assert log_config(config, None).is_file()
    assert log_config(config, None).parent != tmp_path
    (tmp_path / "log4j2.xml").touch()
    assert log_config(config, None) == tmp_path / "log4j2.xml"
    assert log_config(config, "/x/y.xml") == Path("/x/y.xml")


def test_free_ports_are_new_ones_each_time() -> None:
    # Of 28,232 ports, as Linux has them, a thousand that were drawn without a memory would hold some twice.
    ports = [free_port() for _ in range(1000)]
    assert len(set(ports)) == len(ports)


def test_file_argument_environment_and_set(tmp_path: Path) -> None:
    path = tmp_path / "config.properties"
    path.write_text("enable_envvars_config=true\njob_queue_size=1\nmodel_store=/file\n# end\\")
    environ = {"TS_JOB_QUEUE_SIZE": "2", "TS_MODEL_STORE": "/environment", "TS_SERVICE_ENVELOPE": "kserve", "A": "b"}
    arguments = [f"--ts-config={path}", "--model-store=/argument", "--set", "job_queue_size=3", "--dt"]
    run = tmp_path / "run"
    run.mkdir()
    config, kept = prepare(options.parse(arguments, {}), run, environ, asks_for_tokens=True)
    assert config.path == run / "config.properties"
    assert str(config.model_store) == "/environment"
    assert config.job_queue_size == 3
    assert config.disable_token_authorization
    assert config.service_envelope == "kserve"
    assert kept == {"TS_MODEL_STORE": "/environment", "TS_SERVICE_ENVELOPE": "kserve", "A": "b"}


def test_the_java_command(tmp_path: Path) -> None:
    path = tmp_path / "config.properties"
    path.write_text("vmargs=-Xmx1g -Dlog4j.configurationFile=file:///other.xml\nplugins_path=/plugins\n")
    installation = launch.Installation(Path("/site"), (0, 12, 0))
    java = Java(Path("/java/bin/java"), 17, "PATH")
    command = launch.command(java, installation, load(path, {}), tmp_path / "log4j2.xml", tmp_path)
    assert command[0] == "/java/bin/java"
    assert "-Xmx1g" in command
    loads = Path(launch.__file__).with_name("load_log4j2.xml")
    assert [word for word in command if "log4j" in word] == [
        f"-Dlog4j.configurationFile={(tmp_path / 'log4j2.xml').as_uri()},{loads.as_uri()}"
    ]
    assert f"-Dts.kserve.loads={tmp_path}/loads.log" in command
    assert command[command.index("-cp") + 1] == ".:/site/ts/frontend/*:/plugins/*"
    assert command[command.index("--python") + 1] == sys.executable
    assert command[command.index("--ts-config-file") + 1] == str(path)


def test_java_compiles_quickly_and_keeps_threads_unless_vmargs_say_otherwise(tmp_path: Path) -> None:
    java, installation = Java(Path("/java/bin/java"), 17, "PATH"), launch.Installation(Path("/site"), (0, 12, 0))
    path = tmp_path / "config.properties"
    for text, quick in (("", True), ("vmargs=-Xmx1g\n", False)):
        path.write_text(text)
        command = launch.command(java, installation, load(path, {}), None, tmp_path)
        assert ("-XX:TieredStopAtLevel=1" in command) == quick
        assert ("-Djava.util.concurrent.ForkJoinPool.common.parallelism=64" in command) == quick


def test_workers_say_which_signal_ends_them_unless_told_otherwise() -> None:
    java = Java(Path("/java/bin/java"), 17, "PATH")
    assert launch.environment({}, java)["PYTHONFAULTHANDLER"] == "1"
    assert launch.environment({"PYTHONFAULTHANDLER": ""}, java)["PYTHONFAULTHANDLER"] == ""


def test_tokens_are_asked_for_since_their_version() -> None:
    assert launch.Installation(Path("/"), (0, 12, 0)).asks_for_tokens
    assert launch.Installation(Path("/"), (0, 11, 1)).asks_for_tokens
    assert not launch.Installation(Path("/"), (0, 11, 0)).asks_for_tokens
    assert not launch.Installation(Path("/"), (0, 9, 0)).asks_for_tokens


def test_a_derived_file_keeps_the_users_lines() -> None:
    text = "# mine\na=1\n"
    assert properties.derive(text, {}) == text
    assert properties.derive(text, {"a": "2"}) == "# mine\na=1\n\na=2\n"
