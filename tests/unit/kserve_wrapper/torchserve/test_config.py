"""TorchServe's configuration: precedence, defaults, and errors that say where and what to write."""

from __future__ import annotations

import importlib.util
import json
import re
import zipfile
from pathlib import Path
from typing import Dict

import pytest

from kserve_wrapper.torchserve.config import ENVIRONMENT, ConfigError, TorchServeConfig, load

ROOT = Path(__file__).resolve().parents[4]


@pytest.fixture
def write(tmp_path: Path) -> Write:
    return Write(tmp_path / "config.properties")


class Write:
    """Writes a file and loads it."""

    def __init__(self, path: Path) -> None:
        self.path = path

    def __call__(self, text: str, environ: Dict[str, str] = {}, **arguments: str) -> TorchServeConfig:  # noqa: B006
        self.path.write_text(text)
        return load(self.path, environ, arguments)


def snapshot(**changes: object) -> str:
    fields = {"marName": "m.mar", "minWorkers": 2, "maxWorkers": 5, "batchSize": 8, **changes}
    return "model_snapshot=" + json.dumps({"modelCount": 1, "models": {"m": {"1.0": fields}}})


def test_the_documented_file() -> None:
    config = load(ROOT / "config" / "config.properties", {})
    assert config.inference_address == "http://127.0.0.1:8085"
    assert config.management_address == "http://127.0.0.1:8085"
    assert config.metrics_address == "http://127.0.0.1:8082"
    assert (config.grpc_inference_port, config.grpc_management_port) == (7070, 7071)
    assert config.job_queue_size == 10
    assert str(config.model_store) == "/mnt/models/model-store"
    mnist = config.models["mnist"]["1.0"]
    assert (mnist.mar_name, mnist.min_workers, mnist.max_workers) == ("mnist.mar", 1, 5)
    assert (mnist.batch_size, mnist.max_batch_delay, mnist.response_timeout) == (1, 10, 120)
    assert mnist.default_version
    assert config.settings["metrics_format"].value == "prometheus"
    assert config.settings["number_of_netty_threads"].value == "4"
    assert config.settings["install_py_dep_per_model"].value == "true"


def test_torchserves_own_defaults(write: Write) -> None:
    config = write("")
    assert (config.inference_address, config.management_address) == ("http://127.0.0.1:8080", "http://127.0.0.1:8081")
    assert (config.max_request_size, config.max_response_size) == (6553500, 6553500)
    assert (config.job_queue_size, config.default_response_timeout) == (100, 120)
    assert not config.disable_token_authorization
    assert not config.enable_model_api
    assert config.models == {}


def test_environment_beats_argument_beats_file(write: Write) -> None:
    text, environ = "model_store=/file\n", {"TS_MODEL_STORE": "/environment"}
    on = "enable_envvars_config=true\n"
    assert str(write(text).model_store) == "/file"
    assert str(write(text, environ).model_store) == "/file"
    assert str(write(text, environ, model_store="/argument").model_store) == "/argument"
    assert str(write(on + text, environ, model_store="/argument").model_store) == "/environment"


def test_the_switch_is_javas_boolean(write: Write) -> None:
    environ = {"TS_JOB_QUEUE_SIZE": "7"}
    assert write("enable_envvars_config=TRUE", environ).job_queue_size == 7
    assert write("enable_envvars_config=true ", environ).job_queue_size == 100
    assert write("enable_envvars_config=1", environ).job_queue_size == 100


def test_variables_that_are_named_otherwise(write: Write) -> None:
    config = write("enable_envvars_config=true", {"TS_TOKEN_EXPIRATION_TIME_MIN": "5", "TS_SERVICE_ENVELOPE": "kserve"})
    assert config.settings["token_expiration_min"].value == "5"
    assert config.service_envelope == "kserve"


def test_allowed_urls_only_by_a_switch_of_their_own(write: Write) -> None:
    environ = {"TS_ALLOWED_URLS": "file:///x"}
    assert "allowed_urls" not in write("enable_envvars_config=true", environ).settings
    text = "enable_envvars_config=true\nuse_env_allowed_urls=True"
    assert write(text, environ).settings["allowed_urls"].value == "file:///x"


def test_the_variables_are_those_of_the_installed_torchserve() -> None:
    package = importlib.util.find_spec("ts")
    if package is None or package.origin is None:
        pytest.skip("torchserve is not installed")
    jar = Path(package.origin).parent / "frontend" / "model-server.jar"
    with zipfile.ZipFile(jar) as archive:
        compiled = archive.read("org/pytorch/serve/util/ConfigManager.class")
    # A name in a class file is one byte for its kind, two for its length, and the text.
    names = {name.decode() for size, name in re.findall(rb"\x01\x00(.)(TS_[A-Z_]+)", compiled, re.DOTALL) if size}
    known = {name for name in names if any(name.startswith(variable) for variable in ENVIRONMENT)}
    assert {"TS_INFERENCE_ADDRESS", "TS_SERVICE_ENVELOPE"} <= names
    # These two are no properties: where the file is, and the name of a logger.
    assert names - known <= {"TS_CONFIG_FILE", "TS_METRICS"}


def test_dollars_are_replaced_from_the_environment(write: Write) -> None:
    assert str(write("model_store=/a/$$PLACE$$/b", {"PLACE": "here"}).model_store) == "/a/here/b"
    with pytest.raises(ConfigError, match=r"config\.properties, line 2: .*PLACE"):
        write("\nmodel_store=$$PLACE$$")


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("#\njob_queue_size=ten", "line 2: job_queue_size: 'ten' is not a whole number"),
        ("job_queue_size=10 ", "line 1: job_queue_size: '10 '"),
        ("max_request_size=99999999999", "line 1: max_request_size"),
        ("inference_address=0.0.0.0:8085", "line 1: inference_address: .*write http://HOST:PORT"),
        ("inference_address=http://[::1]:8085", "line 1: inference_address"),
        ("inference_address=http://h:8085/", "line 1: inference_address"),
        ("management_address=http://h:65535", "line 1: management_address: port 65535"),
        ("inference_address=unix:/tmp/x", "line 1: inference_address: a Unix socket"),
        ("\n\nmodel_snapshot={'name':1}", "line 3: model_snapshot: is not JSON at position 1"),
        ('model_snapshot={"modelCount":1,"models":{"m":{"1.0":{"marName":"m.mar",}}}}', r"position 5\d \(near "),
        ("model_snapshot=[]", 'must be an object with "models"'),
        ('model_snapshot={"modelCount":1,"models":{"m":{"1.0":{}}}}', r"models\.m\.1\.0 .*marName"),
        (snapshot(minWorkers="2"), r"models\.m\.1\.0\.minWorkers must be a whole number"),
        ("model_snapshot=" + "[" * 20000, "line 1: model_snapshot"),
    ],
)
def test_errors_name_file_line_and_mend(write: Write, text: str, words: str) -> None:
    with pytest.raises(ConfigError, match=words) as caught:
        write(text)
    assert str(write.path) in str(caught.value)


def test_errors_name_the_variable(write: Write) -> None:
    with pytest.raises(ConfigError, match="environment variable TS_JOB_QUEUE_SIZE: job_queue_size"):
        write("enable_envvars_config=true", {"TS_JOB_QUEUE_SIZE": "x"})


@pytest.mark.parametrize(
    ("written", "dialled"),
    [
        ("http://0.0.0.0:8085", "http://127.0.0.1:8085"),
        ("HTTPS://0.0.0.0:8443", "https://127.0.0.1:8443"),
        ("http://10.0.0.7:1", "http://10.0.0.7:1"),
        ("http://torchserve", "http://torchserve:80"),
        ("https://torchserve", "https://torchserve:443"),
    ],
)
def test_addresses_as_they_are_dialled(write: Write, written: str, dialled: str) -> None:
    assert write(f"inference_address={written}").inference_address == dialled


def test_a_snapshot_that_counts_nothing_loads_nothing(write: Write) -> None:
    text = snapshot()
    assert write(text).models["m"]["1.0"].min_workers == 2
    config = write(text.replace('"modelCount": 1', '"modelCount": 0'))
    assert config.models == {}
    assert any("modelCount" in warning for warning in config.warnings())


def test_several_models_and_versions(write: Write) -> None:
    item = {"marName": "x.mar"}
    value = {"modelCount": 3, "models": {"a": {"1.0": item, "2.0": {**item, "defaultVersion": True}}, "b": {"1": item}}}
    models = write(f"model_snapshot={json.dumps(value)}").models
    assert {name: sorted(versions) for name, versions in models.items()} == {"a": ["1.0", "2.0"], "b": ["1"]}
    assert [v for v, model in models["a"].items() if model.default_version] == ["2.0"]


def test_warns_where_no_management_call_can_succeed(write: Write) -> None:
    text = "inference_address=http://0.0.0.0:1\nmanagement_address=http://0.0.0.0:1\n"
    assert any("two different keys" in warning for warning in write(text).warnings())
    assert write(text + "disable_token_authorization=true").warnings() == []
