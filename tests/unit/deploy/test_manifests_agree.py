"""Manifests, image and code agree: on ports, paths, names and versions. A change on one side fails here."""

from __future__ import annotations

import json
import re
from typing import Any

import pytest
import yaml

from kserve_wrapper import cli, supervisor
from kserve_wrapper._version import __version__
from kserve_wrapper.modelstore import ports
from kserve_wrapper.modelstore.check import CONFIG as PROPERTIES
from kserve_wrapper.modelstore.check import MOUNT, STORE
from kserve_wrapper.modelstore.manifests import drain_seconds
from kserve_wrapper.settings import Settings
from kserve_wrapper.supervisor import options
from tests.unit.deploy.manifests import CONFIG, RUNTIMES, Manifest, containers, of_kind, read

DOCKERFILE = (CONFIG / "runtime" / "Dockerfile").read_text(encoding="utf-8")
SERVICES = of_kind("InferenceService")
RUNTIME_NAMES = {*(manifest.name for manifest in of_kind(*RUNTIMES)), "ts-kserve-wrapper-next"}
#: The document's own three bring no probes; the runtime does.
DOCUMENTED = {"torchserve-v1.yaml", "torchserve-v1-gpu.yaml", "torchserve-v2.yaml"}
HTTP, GRPC = Settings().http_port, Settings().grpc_port
BUCKET = "gs://kfserving-examples/models/torchserve/image_classifier"

#: The document's manifests, word for word.
DOCUMENT: dict[str, Any] = {
    "torchserve-v1.yaml": {
        "apiVersion": "serving.kserve.io/v1beta1",
        "kind": "InferenceService",
        "metadata": {"name": "torchserve"},
        "spec": {"predictor": {"model": {"modelFormat": {"name": "pytorch"}, "storageUri": f"{BUCKET}/v1"}}},
    },
    "torchserve-v1-gpu.yaml": {
        "apiVersion": "serving.kserve.io/v1beta1",
        "kind": "InferenceService",
        "metadata": {"name": "torchserve"},
        "spec": {
            "predictor": {
                "model": {
                    "modelFormat": {"name": "pytorch"},
                    "storageUri": f"{BUCKET}/v1",
                    "resources": {"limits": {"memory": "4Gi", "nvidia.com/gpu": "1"}},
                }
            }
        },
    },
    "torchserve-v2.yaml": {
        "apiVersion": "serving.kserve.io/v1beta1",
        "kind": "InferenceService",
        "metadata": {"name": "torchserve-mnist-v2"},
        "spec": {
            "predictor": {
                "model": {
                    "modelFormat": {"name": "pytorch"},
                    "protocolVersion": "v2",
                    "storageUri": f"{BUCKET}/v2",
                }
            }
        },
    },
}


@pytest.mark.parametrize("name", sorted(DOCUMENTED))
def test_the_documents_manifests_are_the_documents(name: str) -> None:
    (manifest,) = read(CONFIG / "kserve" / name)
    assert manifest.value == DOCUMENT[name]


@pytest.mark.parametrize("manifest", [*SERVICES, *of_kind(*RUNTIMES)], ids=str)
def test_probes_ask_the_wrapper_itself(manifest: Manifest) -> None:
    for container in containers(manifest):
        if manifest.file.name not in DOCUMENTED | {"torchserve-canary.yaml"}:
            assert container.get("runtime") in RUNTIME_NAMES or "readinessProbe" in container
        for probe, path in (("readinessProbe", "/v2/health/ready"), ("livenessProbe", "/v2/health/live")):
            if probe in container:
                assert container[probe]["httpGet"] == {"path": path, "port": HTTP}


@pytest.mark.parametrize("manifest", SERVICES, ids=str)
def test_ports_are_the_wrappers(manifest: Manifest) -> None:
    for container in containers(manifest):
        for port in container.get("ports", []):
            assert (port["name"], port["containerPort"]) in {("h2c", GRPC), ("http1", HTTP)}
        if container.get("protocolVersion") == "grpc-v2":
            assert [port["name"] for port in container["ports"]] == ["h2c"]


@pytest.mark.parametrize("manifest", SERVICES, ids=str)
def test_a_pod_lives_as_long_as_its_drain_takes(manifest: Manifest) -> None:
    predictor = manifest.value["spec"]["predictor"]
    grace = predictor.get("terminationGracePeriodSeconds", 30)
    for container in containers(manifest):
        assert drain_seconds(container) < grace
        if "lifecycle" in container:
            assert predictor["deploymentStrategy"]["rollingUpdate"]["maxUnavailable"] == 0


def test_the_drain_timeout_that_the_sums_count_with_is_the_supervisors() -> None:
    assert drain_seconds({}) == options.parse(["torchserve"], {}).drain_timeout


@pytest.mark.parametrize("manifest", SERVICES, ids=str)
def test_a_startup_probe_waits_as_long_as_the_wrapper_stays_live(manifest: Manifest) -> None:
    for container in containers(manifest):
        if "startupProbe" in container:
            variables = {item["name"]: item["value"] for item in container["env"]}
            probe = container["startupProbe"]
            limit = cli.parse([], variables).worker_limit
            assert probe["periodSeconds"] * probe["failureThreshold"] == limit
            assert probe["httpGet"] == {"path": "/v2/health/ready", "port": HTTP}


def test_the_standard_manifest_holds_what_the_overlay_adds() -> None:
    (service,) = read(CONFIG / "kserve" / "torchserve-standard.yaml")
    component = (CONFIG / "kustomize" / "components" / "standard" / "kustomization.yaml").read_text(encoding="utf-8")
    patch = {item["path"]: item["value"] for item in yaml.safe_load(yaml.safe_load(component)["patches"][0]["patch"])}
    for part in ("ports", "env", "lifecycle"):
        assert service.value["spec"]["predictor"]["model"][part] == patch[f"/spec/containers/0/{part}"]


def test_the_network_policy_opens_the_wrappers_ports_alone() -> None:
    (policy,) = of_kind("NetworkPolicy")
    (rule,) = policy.value["spec"]["ingress"]
    assert [port["port"] for port in rule["ports"]] == [HTTP, GRPC]
    (labels,) = policy.value["spec"]["podSelector"]["matchExpressions"]
    assert set(labels["values"]) <= {service.name for service in SERVICES}


def test_the_checker_knows_the_wrappers_ports() -> None:
    assert (ports.WRAPPER_HTTP_PORT, ports.WRAPPER_GRPC_PORT) == (HTTP, GRPC)


@pytest.mark.parametrize("manifest", SERVICES, ids=str)
def test_a_service_names_a_runtime_that_is_here(manifest: Manifest) -> None:
    for container in containers(manifest):
        assert container.get("runtime") in {None, *RUNTIME_NAMES}
        wants_gpu = "nvidia.com/gpu" in container.get("resources", {}).get("limits", {})
        if wants_gpu and "runtime" in container:
            assert container["runtime"].endswith("-gpu")


@pytest.mark.parametrize("suffix", ["", "-gpu"])
def test_namespaced_and_cluster_runtime_are_the_same(suffix: str) -> None:
    (cluster,) = read(CONFIG / "runtime" / f"cluster-serving-runtime{suffix}.yaml")
    (namespaced,) = read(CONFIG / "runtime" / f"serving-runtime{suffix}.yaml")
    assert {**cluster.value, "kind": "ServingRuntime"} == namespaced.value


@pytest.mark.parametrize("manifest", of_kind(*RUNTIMES), ids=str)
def test_a_runtime_is_locked_down(manifest: Manifest) -> None:
    for container in containers(manifest):
        security = container["securityContext"]
        assert security["runAsNonRoot"] is True
        assert security["readOnlyRootFilesystem"] is True
        assert security["allowPrivilegeEscalation"] is False
        assert security["capabilities"] == {"drop": ["ALL"]}
        assert security["seccompProfile"] == {"type": "RuntimeDefault"}
        assert f"USER {security['runAsUser']}:{security['runAsGroup']}" in DOCKERFILE
        writable = {mount["mountPath"] for mount in container["volumeMounts"]}
        assert writable == {"/tmp"} == {container["workingDir"]}
        volumes = {volume["name"] for volume in manifest.value["spec"]["volumes"] if volume["emptyDir"] == {}}
        assert volumes == {mount["name"] for mount in container["volumeMounts"]}


@pytest.mark.parametrize("manifest", of_kind(*RUNTIMES), ids=str)
def test_a_runtime_starts_what_the_code_reads(manifest: Manifest) -> None:
    spec = manifest.value["spec"]
    assert sorted(spec["protocolVersions"]) == ["grpc-v2", "v1", "v2"]
    assert spec["annotations"]["prometheus.kserve.io/port"] == str(HTTP)
    (container,) = spec["containers"]
    assert f"--ts-config={MOUNT}/{PROPERTIES}" in container["args"]
    assert f"--model-store={MOUNT}/{STORE}" in container["args"]
    assert f"{MOUNT}/{PROPERTIES}" == Settings().config_path
    assert container["image"].endswith(f":{__version__}")
    assert manifest.value["metadata"]["labels"]["app.kubernetes.io/version"] == __version__
    (command,) = re.findall(r"^CMD (\[.*\])$", DOCKERFILE, re.MULTILINE)
    assert container["args"] == json.loads(command)
    chosen = options.parse(container["args"], {})
    assert str(chosen.config_path) == Settings().config_path
    assert list(chosen.expose) == []
    assert Settings().torchserve_metrics, "the one address that is scraped would lack TorchServe's"
    (entry,) = re.findall(r"^ENTRYPOINT (\[.*\])$", DOCKERFILE, re.MULTILINE)
    assert json.loads(entry)[-1] == supervisor.__name__


def test_the_image_has_this_version_and_these_ports() -> None:
    assert f'org.opencontainers.image.version="{__version__}"' in DOCKERFILE
    assert f"EXPOSE {HTTP} {GRPC}\n" in DOCKERFILE


def test_the_volume_claim_is_the_one_that_services_name() -> None:
    claims = {manifest.name for manifest in of_kind("PersistentVolumeClaim")}
    uris = [container["storageUri"] for service in SERVICES for container in containers(service)]
    named = {uri.split("/")[2] for uri in uris if uri.startswith("pvc://")}
    assert named == claims
