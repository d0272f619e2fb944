"""The manifests for Kubernetes. There is no cluster here: test_checked holds them against
Kubernetes' schemas, and here the containers' command is run with the environment that they give it.
"""

from __future__ import annotations

from http.client import HTTPConnection
from typing import TYPE_CHECKING, Any

import pytest

from tests.recipes.conftest import EVERYTHING, tool
from tests.recipes.test_servers import started, until
from tests.samples import SECRET
from tests.servers.postgres import PASSWORD
from tests.servers.process import free_port

if TYPE_CHECKING:
    from pathlib import Path

    from tests.recipes.conftest import Init, Stand
    from tests.servers.postgres import Postgres


@pytest.fixture
def manifests(init: Init, tmp_path: Path) -> dict[str, Any]:
    """The objects by their kinds."""
    yaml = pytest.importorskip("yaml")
    folder = init("kubernetes", tmp_path / "kubernetes")
    found: dict[str, Any] = {}
    for name in ("myop-cdn.yaml", "secret.yaml"):
        for one in yaml.safe_load_all((folder / name).read_text("utf-8")):
            found.setdefault(one["kind"], one)
    return found


def test_two_pods_are_replaced_and_evicted_one_at_a_time(manifests: dict[str, Any]) -> None:
    deployment, budget = manifests["Deployment"]["spec"], manifests["PodDisruptionBudget"]["spec"]
    assert deployment["replicas"] == 2
    assert deployment["strategy"]["rollingUpdate"] == {"maxUnavailable": 0, "maxSurge": 1}
    assert budget["minAvailable"] == 1
    labels = deployment["template"]["metadata"]["labels"]
    for selector in (
        deployment["selector"]["matchLabels"],
        budget["selector"]["matchLabels"],
        manifests["Service"]["spec"]["selector"],
        manifests["NetworkPolicy"]["spec"]["podSelector"]["matchLabels"],
    ):
        assert selector.items() <= labels.items()


def test_a_pod_is_drained_and_has_the_time_for_it(manifests: dict[str, Any]) -> None:
    spec = manifests["Deployment"]["spec"]["template"]["spec"]
    (container,) = spec["containers"]
    pause = int(container["lifecycle"]["preStop"]["exec"]["command"][-1])
    assert spec["terminationGracePeriodSeconds"] > pause + 8 + 10  # --grace, and what follows it


def test_what_is_asked_and_let_through_are_the_ports_it_listens_on(
    manifests: dict[str, Any],
) -> None:
    (container,) = manifests["Deployment"]["spec"]["template"]["spec"]["containers"]
    ports = {port["name"]: port["containerPort"] for port in container["ports"]}
    assert f"--port={ports['http']}" in container["args"]
    assert f"--admin=0.0.0.0:{ports['admin']}" in container["args"]
    probes = {
        name: container[f"{name}Probe"]["httpGet"] for name in ("startup", "liveness", "readiness")
    }
    assert {probe["port"] for probe in probes.values()} == {"admin"}
    assert [probe["path"] for probe in probes.values()] == ["/healthz", "/healthz", "/readyz"]
    policy = manifests["NetworkPolicy"]["spec"]
    assert [rule["ports"][0]["port"] for rule in policy["ingress"]] == list(ports.values())
    assert all(rule["from"] for rule in policy["ingress"])


def test_the_container_is_nobody_and_may_write_nowhere_else(manifests: dict[str, Any]) -> None:
    spec = manifests["Deployment"]["spec"]["template"]["spec"]
    (container,) = spec["containers"]
    assert spec["securityContext"]["runAsNonRoot"] is True
    assert spec["automountServiceAccountToken"] is False
    assert container["securityContext"]["readOnlyRootFilesystem"] is True
    assert container["securityContext"]["capabilities"] == {"drop": ["ALL"]}


def test_no_secret_has_a_value_and_each_that_is_wanted_is_there(manifests: dict[str, Any]) -> None:
    spec = manifests["Deployment"]["spec"]["template"]["spec"]
    secret = manifests["Secret"]["stringData"]
    assert set(secret.values()) == {""}
    (volume,) = [one["secret"] for one in spec["volumes"] if "secret" in one]
    wanted = {item["key"] for item in volume["items"]}
    (container,) = spec["containers"]
    wanted |= {
        one["valueFrom"]["secretKeyRef"]["key"] for one in container["env"] if "valueFrom" in one
    }
    assert wanted == set(secret)


def status(port: int, path: str) -> int:
    """The status of an answer, 0 where there is none."""
    connection = HTTPConnection("127.0.0.1", port, timeout=5)
    try:
        connection.request("GET", path)
        return connection.getresponse().status
    except OSError:
        return 0
    finally:
        connection.close()


def test_its_command_becomes_ready_and_publishes(
    stand: Stand, manifests: dict[str, Any], tmp_path: Path, postgres: Postgres
) -> None:
    (container,) = manifests["Deployment"]["spec"]["template"]["spec"]["containers"]
    port, admin = free_port(), free_port()
    secrets = tmp_path / "secrets"
    secrets.mkdir()
    (secrets / "api-key").write_text(stand.environment["MYOP_API_KEY"])
    (secrets / "webhook-secret").write_text(SECRET)
    postgres.empty("kubernetes")
    journal = f"postgresql://postgres@127.0.0.1:{postgres.port}/kubernetes?sslmode=disable"

    def here(text: str) -> str:
        text = text.replace("/var/lib/myop-cdn", str(tmp_path))
        text = text.replace("/run/secrets/myop", str(secrets)).replace("=0.0.0.0", "=127.0.0.1")
        return text.replace("3000", str(port)).replace("9100", str(admin))

    given = {one["name"]: here(one["value"]) for one in container["env"] if "value" in one}
    environment = {
        **stand.environment, **given, "MYOP_CDN_JOURNAL": journal, "PGPASSWORD": PASSWORD
    }  # fmt: skip
    for name in ("MYOP_API_KEY", "MYOP_WEBHOOK_SECRET", "PYTHONPATH"):
        del environment[name]
    words = [tool("myop-cdn"), *map(here, container["args"])]
    with started(words, environment, tmp_path / "container.log"):
        until(lambda: status(admin, "/healthz") == 200)
        until(lambda: status(admin, "/readyz") == 200)
        until(lambda: stand.published() == EVERYTHING)
