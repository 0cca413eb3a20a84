"""The compose file and the Kubernetes manifests: limits and confinement of every container."""

import re
import tomllib
from collections.abc import Iterator
from ipaddress import ip_address, ip_network
from pathlib import Path
from typing import Any

import msgspec
import pytest
import yaml  # type: ignore[import-untyped]  # ships no types

from framegate.core.options import decode_value
from framegate.core.settings import Settings

DOCKER = Path(__file__).parents[2] / "docker"
WORKLOADS = {"StatefulSet/valkey", "Deployment/framegate-api", "Deployment/framegate-worker"}


def compose() -> dict[str, Any]:
    loaded: dict[str, Any] = yaml.safe_load((DOCKER / "compose.yaml").read_text(encoding="utf-8"))
    return loaded


def manifests() -> dict[str, dict[str, Any]]:
    """Every object by kind and name."""
    found: dict[str, dict[str, Any]] = {}
    for file in sorted((DOCKER / "kubernetes").glob("*.yaml")):
        for manifest in yaml.safe_load_all(file.read_text(encoding="utf-8")):
            name = f"{manifest['kind']}/{manifest['metadata']['name']}"
            assert name not in found
            assert manifest["metadata"]["namespace"] == "framegate"
            found[name] = manifest
    return found


def pods() -> Iterator[tuple[str, dict[str, Any]]]:
    for name, manifest in manifests().items():
        if "template" in manifest.get("spec", {}):
            yield name, manifest["spec"]["template"]


@pytest.mark.parametrize("name", ["valkey", "api", "worker"])
def test_every_container_of_the_compose_file_is_confined(name: str) -> None:
    service = compose()["services"][name]
    limits = service["deploy"]["resources"]["limits"]
    assert limits.keys() >= {"memory", "cpus", "pids"}
    assert service["read_only"] is True
    assert service["cap_drop"] == ["ALL"]
    assert service["security_opt"] == ["no-new-privileges:true"]
    assert "privileged" not in service
    written = [volume.split(":")[1] for volume in service["volumes"] if not volume.endswith(":ro")]
    assert "/data" in written


def test_only_the_api_is_published_and_the_queue_reaches_nothing() -> None:
    file = compose()
    assert [name for name, service in file["services"].items() if "ports" in service] == ["api"]
    assert file["services"]["valkey"]["networks"] == ["queue"]
    assert file["networks"]["queue"]["internal"] is True


def test_the_images_run_as_one_user_without_privileges() -> None:
    """They share the data folder, which others can't read."""
    users = {
        name: re.findall(r"^USER (.+)$", (DOCKER / f"{name}.Dockerfile").read_text(), re.MULTILINE)
        for name in ("api", "worker")
    }
    assert users == {"api": ["10001:10001"], "worker": ["10001:10001"]}


def test_all_workloads_are_there() -> None:
    assert {name for name, _ in pods()} == WORKLOADS


def test_every_container_of_kubernetes_is_confined() -> None:
    for name, pod in pods():
        spec = pod["spec"]
        context = spec["securityContext"]
        assert context["runAsNonRoot"] is True, name
        assert context["seccompProfile"] == {"type": "RuntimeDefault"}, name
        assert spec["automountServiceAccountToken"] is False, name
        for container in spec["containers"]:
            resources = container["resources"]
            assert resources["limits"].keys() >= {"memory", "cpu"}, name
            assert resources["requests"].keys() >= {"memory", "cpu"}, name
            assert container["securityContext"] == {
                "allowPrivilegeEscalation": False,
                "readOnlyRootFilesystem": True,
                "capabilities": {"drop": ["ALL"]},
            }, name
            mounts = {mount["name"] for mount in container["volumeMounts"]}
            volumes = {volume["name"] for volume in spec.get("volumes", ())}
            claims = manifests()[name]["spec"].get("volumeClaimTemplates", ())
            assert mounts == volumes | {claim["metadata"]["name"] for claim in claims}, name


def test_servers_are_probed() -> None:
    for name, pod in pods():
        [container] = pod["spec"]["containers"]
        probed = {probe for probe in container if probe.endswith("Probe")}
        assert name.endswith("worker") or probed >= {"readinessProbe", "livenessProbe"}, name
        for probe in probed:
            port = container[probe].get("httpGet", {}).get("port")
            assert port in (None, *(entry["name"] for entry in container.get("ports", ()))), name


def test_selectors_find_their_pods() -> None:
    labels = {name: pod["metadata"]["labels"] for name, pod in pods()}
    objects = manifests()
    for name in WORKLOADS:
        assert objects[name]["spec"]["selector"]["matchLabels"].items() <= labels[name].items()
    for name, manifest in objects.items():
        if manifest["kind"] in ("Service", "NetworkPolicy"):
            spec = manifest["spec"]
            selector = spec.get("selector") or spec.get("podSelector", {}).get("matchLabels", {})
            assert any(selector.items() <= found.items() for found in labels.values()), name


@pytest.mark.parametrize(
    ("address", "reachable"),
    [
        ("169.254.169.254", False),
        ("10.96.0.1", False),
        ("192.168.1.1", False),
        ("172.20.0.1", False),
        ("100.100.100.200", False),
        ("fd00:ec2::254", False),
        ("fe80::1", False),
        ("93.184.216.34", True),
        ("2606:2800:220:1::1", True),
    ],
)
def test_the_network_policy_keeps_to_public_addresses(address: str, reachable: bool) -> None:
    objects = manifests()
    assert objects["NetworkPolicy/default-deny"]["spec"] == {
        "podSelector": {},
        "policyTypes": ["Ingress", "Egress"],
    }
    target = ip_address(address)
    blocks = [
        peer["ipBlock"]
        for rule in objects["NetworkPolicy/queue-clients"]["spec"]["egress"]
        for peer in rule["to"]
        if "ipBlock" in peer
    ]
    assert reachable == any(
        target in ip_network(block["cidr"])
        and not any(target in ip_network(part) for part in block["except"])
        for block in blocks
    )


def kubernetes_settings() -> Settings:
    text = manifests()["ConfigMap/framegate"]["data"]["framegate.toml"]
    return msgspec.convert(tomllib.loads(text), Settings, dec_hook=decode_value)


def test_kubernetes_asks_the_right_probes_and_waits_long_enough() -> None:
    pod = manifests()["Deployment/framegate-api"]["spec"]["template"]["spec"]
    [container] = pod["containers"]
    paths = {name: probe["httpGet"]["path"] for name, probe in container.items() if name.endswith("Probe")}
    assert paths == {"startupProbe": "/health", "livenessProbe": "/health", "readinessProbe": "/ready"}
    server = kubernetes_settings().server
    assert server.shutdown_delay > 0
    assert pod["terminationGracePeriodSeconds"] >= server.shutdown_delay + server.shutdown_grace + 5


def test_the_config_of_kubernetes_is_right() -> None:
    settings = kubernetes_settings()
    assert settings.queue.url == "redis://valkey:6379/0"
    assert str(settings.server.data_dir).startswith("/data/"), "a folder of its own in the shared volume"
    for name in ("api", "worker"):
        [container] = manifests()[f"Deployment/framegate-{name}"]["spec"]["template"]["spec"]["containers"]
        assert {entry["name"] for entry in container["env"]} == {"FRAMEGATE_KEY"}
        assert all("valueFrom" in entry for entry in container["env"]), "no secret in a manifest"
