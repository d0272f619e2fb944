"""The recipes for servers, run: the unit as systemd starts it, nginx in front, the container's
commands. There is no systemd as process 1 here and no Docker: what they would add to the
programs (confinement, an image) is checked by their own tools, in test_checked.py.
"""

from __future__ import annotations

import json
import os
import re
import shlex
import ssl
import subprocess
import sys
import time
from contextlib import contextmanager
from datetime import UTC, datetime
from http.client import HTTPConnection, HTTPSConnection
from typing import TYPE_CHECKING

import pytest

from myop_cdn.signature import sign
from tests.listener import certificate
from tests.recipes.conftest import EVERYTHING, execute, tool
from tests.samples import SECRET, release, webhook
from tests.servers.process import free_port

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping
    from pathlib import Path

    from tests.recipes.conftest import Init, Stand


def until(holds: Callable[[], bool], seconds: float = 60) -> None:
    """Wait for it."""
    end = time.monotonic() + seconds
    while not holds():
        assert time.monotonic() < end, "it never came about"
        time.sleep(0.05)


@contextmanager
def started(words: list[str], env: Mapping[str, str], log: Path) -> Iterator[None]:
    """A server, ended by SIGTERM: in order, or the test fails."""
    with log.open("wb") as file:
        process = subprocess.Popen(words, env=dict(env), stdout=file, stderr=file)
        try:
            yield
            assert process.poll() is None, log.read_text()
        finally:
            process.terminate()
            try:
                process.wait(30)
            finally:
                process.kill()
    assert process.returncode == 0, log.read_text()


def answers(port: int, path: str = "/") -> bool:
    """Whether something speaks HTTP there."""
    connection = HTTPConnection("127.0.0.1", port, timeout=5)
    try:
        connection.request("GET", path)
        connection.getresponse().read()
    except OSError:
        return False
    finally:
        connection.close()
    return True


def delivery(component: str, environment: str) -> tuple[bytes, dict[str, str]]:
    """A delivery of Myop's, of this moment: its body and its headers."""
    now = datetime.now(UTC).strftime("%Y-%m-%dT%H:%M:%S.000Z")
    body = webhook(release(component, environment), timestamp=now)
    headers = {
        "Content-Type": "application/json",
        "X-Myop-Event": "components.deployed",
        "X-Myop-Signature": sign(body, SECRET.encode()),
    }
    return body, headers


@contextmanager
def service(stand: Stand, folder: Path, init: Init) -> Iterator[int]:
    """The unit's command, with the folders and the socket that systemd gives it; yields the port.

    The socket's port is a free one in place of 3000, and so is that of the admin address.
    """
    activate = tool("systemd-socket-activate")
    unit = (init("systemd", folder) / "myop-cdn.service").read_text("utf-8")
    socket = (folder / "myop-cdn.socket").read_text("utf-8")
    assert "ListenStream=127.0.0.1:3000" in socket
    credentials, state = folder / "credentials", folder / "state"
    for made in (credentials, state):
        made.mkdir(mode=0o700)
    for name, content in (
        ("api-key", stand.environment["MYOP_API_KEY"]),
        ("webhook-secret", SECRET),
    ):
        assert re.search(rf"^LoadCredential={name}:/etc/myop-cdn/{name}$", unit, re.MULTILINE)
        (credentials / name).write_text(f"{content}\n")
        (credentials / name).chmod(0o400)
    variables = {"CREDENTIALS_DIRECTORY": str(credentials), "STATE_DIRECTORY": str(state)}
    [command] = re.findall(r"^ExecStart=((?:.*\\\n)*.*)$", unit, re.MULTILINE)
    words = shlex.split(command.replace("\\\n", ""))
    words = [re.sub(r"\$\{(\w+)\}", lambda found: variables[found[1]], word) for word in words]
    port, admin = free_port(), free_port()
    words = [sys.executable, "-m", "myop_cdn", *words[1:]]
    words[words.index("127.0.0.1:9100")] = f"127.0.0.1:{admin}"
    job = {
        name: value
        for name, value in stand.environment.items()
        if name not in ("MYOP_API_KEY", "MYOP_WEBHOOK_SECRET", "PYTHONPATH")
    }
    for name, value in {**job, **variables}.items():
        words = [f"--setenv={name}={value}", *words]
    log = folder / "service.log"
    with started([activate, f"--listen=127.0.0.1:{port}", *words], os.environ, log):
        until(lambda: answers(port))  # the first connection starts it
        yield port


def test_the_unit_s_command_publishes_everything_and_then_a_release(
    stand: Stand, init: Init, tmp_path: Path
) -> None:
    with service(stand, tmp_path / "systemd", init) as port:
        until(lambda: stand.published() == EVERYTHING)
        stand.bucket.client.delete_object(
            Bucket=stand.bucket.name, Key="myop/components/card/qa.json"
        )
        body, headers = delivery("card", "qa")
        connection = HTTPConnection("127.0.0.1", port, timeout=30)
        connection.request("POST", "/webhooks/myop", body, headers)
        assert connection.getresponse().status == 200
        connection.close()
        until(lambda: stand.published() == EVERYTHING)


@pytest.fixture
def nginx(stand: Stand, init: Init, tmp_path: Path) -> Iterator[tuple[int, Path]]:
    """nginx with the recipe, before the unit's command: its TLS port and its certificate."""
    program = tool("nginx")
    cert, key = certificate.make(tmp_path)
    text = (init("nginx", tmp_path / "nginx") / "myop-cdn.conf").read_text("utf-8")
    plain, secure = free_port(), free_port()
    with service(stand, tmp_path / "systemd", init) as port:
        for before, after in (
            ("listen [::]:80;", ""),
            ("listen [::]:443 ssl;", ""),
            ("listen 80;", f"listen 127.0.0.1:{plain};"),
            ("listen 443 ssl;", f"listen 127.0.0.1:{secure} ssl;"),
            ("/etc/letsencrypt/live/hooks.example.com/fullchain.pem", str(cert)),
            ("/etc/letsencrypt/live/hooks.example.com/privkey.pem", str(key)),
            ("127.0.0.1:3000", f"127.0.0.1:{port}"),
        ):
            assert before in text
            text = text.replace(before, after)
        site, whole = tmp_path / "site.conf", tmp_path / "nginx.conf"
        site.write_text(text)
        temporary = "".join(
            f"{name}_temp_path {tmp_path}/{name};"
            for name in ("client_body", "proxy", "fastcgi", "uwsgi", "scgi")
        )
        whole.write_text(
            f"pid {tmp_path}/nginx.pid; daemon off; error_log stderr; events {{}}\n"
            f"http {{ access_log off; {temporary} include {site}; }}\n"
        )
        # As root, its workers become another user, who has to get at what is in this folder.
        words = [program, "-p", str(tmp_path), "-c", str(whole)]
        if os.geteuid() == 0:
            words += ["-g", "user root;"]
        ran = execute([*words, "-t"], tmp_path, os.environ)
        assert ran.code == 0, ran.text
        assert "warn" not in ran.text, ran.text
        with started(words, os.environ, tmp_path / "nginx.log"):
            until(lambda: answers(plain))
            yield secure, cert


def test_nginx_hands_deliveries_on_and_nothing_else(
    nginx: tuple[int, Path], stand: Stand, tmp_path: Path
) -> None:
    port, cert = nginx
    until(lambda: stand.published() == EVERYTHING)
    url = f"https://127.0.0.1:{port}"
    environment = {**stand.environment, "SSL_CERT_FILE": str(cert)}
    environment.pop("PYTHONPATH")
    send = [sys.executable, "-m", "myop_cdn", "send"]
    for options in ([], ["--release", "card/qa"], ["--bad-signature"], ["--stale"], ["--chunked"]):
        ran = execute([*send, f"{url}/webhooks/myop", *options], tmp_path, environment)
        assert ran.code == 0, f"{options}: {ran.text}"
    # Larger than --max-body: nginx answers itself.
    ran = execute([*send, f"{url}/webhooks/myop", "--oversized"], tmp_path, environment)
    assert ran.code == 0, ran.text
    # The sender is whom nginx saw, whatever the request itself claims.
    body, headers = delivery("banner", "production")
    forged = {"X-Forwarded-For": "203.0.113.9", "Forwarded": "for=203.0.113.9"}
    tls = ssl.create_default_context(cafile=str(cert))
    connection = HTTPSConnection("127.0.0.1", port, timeout=30, context=tls)
    connection.request("POST", "/webhooks/myop", body, headers | forged)
    assert connection.getresponse().status == 200
    connection.close()
    words = [sys.executable, "-m", "myop_cdn", "deliveries", "list", "--json", "--state-dir"]
    ran = execute([*words, str(tmp_path / "systemd" / "state")], tmp_path, environment)
    assert '"127.0.0.1"' in ran.text, ran.text
    assert "203.0.113.9" not in ran.text
    for path in ("/", "/status", "/metrics", "/webhooks/other"):
        ran = execute([*send, f"{url}{path}"], tmp_path, environment)
        assert "404" in ran.text, ran.text


def _instructions(dockerfile: str) -> list[tuple[str, str]]:
    text = re.sub(r"^#.*\n", "", dockerfile, flags=re.MULTILINE).replace("\\\n", "")
    return [(line.split()[0], line.partition(" ")[2].strip()) for line in text.splitlines() if line]


def test_the_image_s_build_leaves_a_program_without_pip(
    stand: Stand, init: Init, wheel: Path, tmp_path: Path
) -> None:
    dockerfile = (init("docker", tmp_path) / "Dockerfile").read_text("utf-8")
    run = next(words for name, words in _instructions(dockerfile) if name == "RUN")
    script = re.sub(r"^--mount=\S+ +", "", run).replace("/opt/myop-cdn", f"{tmp_path}/opt")
    environment = {**stand.environment, "MYOP_CDN_PACKAGE": str(wheel)}
    ran = execute([tool("sh"), "-ec", script], tmp_path, environment)
    assert ran.code == 0, ran.text
    ran = execute([f"{tmp_path}/opt/bin/myop-cdn", "--version"], tmp_path, environment)
    assert ran.code == 0, ran.text
    assert not list(tmp_path.glob("opt/bin/pip*"))


def test_the_container_s_command_publishes_and_its_health_check_tells(
    stand: Stand, init: Init, tmp_path: Path
) -> None:
    yaml = pytest.importorskip("yaml")
    folder = init("docker", tmp_path / "docker")
    compose = yaml.safe_load((folder / "compose.yaml").read_text("utf-8"))["services"]["myop-cdn"]
    state, secrets, port, admin = tmp_path / "state", tmp_path / "secrets", free_port(), free_port()
    for made in (state, secrets):
        made.mkdir(mode=0o700)
    assert compose["secrets"] == ["api-key", "webhook-secret"]
    (secrets / "api-key").write_text(stand.environment["MYOP_API_KEY"])
    (secrets / "webhook-secret").write_text(SECRET)

    def here(text: str) -> str:
        text = text.replace("/var/lib/myop-cdn", str(state)).replace("/run/secrets", str(secrets))
        return text.replace("3000", str(port)).replace("9100", str(admin))

    instructions = _instructions(here((folder / "Dockerfile").read_text("utf-8")))
    [entry] = [json.loads(words) for name, words in instructions if name == "ENTRYPOINT"]
    [command] = [json.loads(words) for name, words in instructions if name == "CMD"]
    [check] = [words for name, words in instructions if name == "HEALTHCHECK"]
    check = json.loads(check.partition("CMD ")[2])
    own = {name: here(value) for name, value in compose["environment"].items() if value is not None}
    environment = {**stand.environment, **own}
    for name in ("MYOP_API_KEY", "MYOP_WEBHOOK_SECRET", "PYTHONPATH"):
        del environment[name]
    words = [tool(entry[0]), *command]
    words[words.index("0.0.0.0")] = "127.0.0.1"
    with started(words, environment, tmp_path / "container.log"):
        until(lambda: answers(admin))
        assert execute(check, tmp_path, environment).code == 0
        until(lambda: stand.published() == EVERYTHING)
        assert {path.name for path in state.iterdir()} == {"state", "tree"}
    assert execute(check, tmp_path, environment).code != 0


def test_the_container_is_nobody_and_may_write_nowhere_else(init: Init, tmp_path: Path) -> None:
    yaml = pytest.importorskip("yaml")
    folder = init("docker", tmp_path)
    compose = yaml.safe_load((folder / "compose.yaml").read_text("utf-8"))["services"]["myop-cdn"]
    assert compose["read_only"] is True
    assert compose["cap_drop"] == ["ALL"]
    assert compose["security_opt"] == ["no-new-privileges:true"]
    assert compose["ports"] == ["127.0.0.1:3000:3000"]
    instructions = _instructions((folder / "Dockerfile").read_text("utf-8"))
    assert ("USER", "10001:10001") in instructions
    assert (folder / ".dockerignore").read_text().splitlines()[1:] == ["*", "!*.whl"]
