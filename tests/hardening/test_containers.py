"""What the containers may do: as little as a service can. No engine runs here; the files are read as one would read them."""

import re
from pathlib import Path
from typing import Any

import pytest
import yaml

ROOT = Path(__file__).parents[2]
DOCKERFILE = (ROOT / "Dockerfile").read_text()
COMPOSE: dict[str, Any] = yaml.safe_load((ROOT / "docker-compose.yml").read_text())
SERVICES: dict[str, dict[str, Any]] = COMPOSE["services"]
UNCHECKED = {"migrate": "it ends by itself", "worker": "busy with a stage it answers nobody", "teacher": "as a worker"}
WRITABLE = {"postgres": "/var/lib/postgresql"} | dict.fromkeys(("api", "worker", "teacher"), "/var/lib/gendistil")
SECRET = re.compile(r"password|secret|token|api_?key|credential", re.IGNORECASE)


@pytest.mark.parametrize("name", SERVICES)
def test_a_service_writes_only_to_its_volume_and_gains_no_rights(name: str) -> None:
    service = SERVICES[name]
    assert service["read_only"] is True
    assert service["cap_drop"] == ["ALL"]
    assert "cap_add" not in service
    assert service["security_opt"] == ["no-new-privileges:true"]
    assert not service.keys() & {"privileged", "pid", "ipc", "network_mode", "devices"}
    assert any(folder.split(":")[0] == "/tmp" for folder in service["tmpfs"])
    targets = [volume.split(":")[1] for volume in service.get("volumes", [])]
    assert targets == ([WRITABLE[name]] if name in WRITABLE else [])
    # Named volumes alone: no folder of the machine, and no engine's socket.
    assert {volume.split(":")[0] for volume in service.get("volumes", [])} <= set(COMPOSE["volumes"])


@pytest.mark.parametrize("name", SERVICES)
def test_a_service_does_not_run_as_root(name: str) -> None:
    if "build" not in SERVICES[name]:
        assert SERVICES[name]["user"] not in {"", "root", "0"}
        return
    stage = re.split(r"^FROM ", DOCKERFILE, flags=re.MULTILINE)
    built = next(part for part in stage if part.split("\n")[0].endswith(f"AS {SERVICES[name]['build']['target']}"))
    # The last word on the user stands after everything that root installs.
    assert built.index("\nUSER gendistil") > built.rindex("\nRUN ")
    assert built.count("\nUSER ") == 1


@pytest.mark.parametrize("name", SERVICES)
def test_a_service_says_whether_it_is_well(name: str) -> None:
    assert ("healthcheck" in SERVICES[name]) != (name in UNCHECKED)


def test_ports_are_bound_to_this_machine_and_the_stores_have_none() -> None:
    published = {name: service["ports"] for name, service in SERVICES.items() if "ports" in service}
    assert set(published) == {"api"}
    assert all(port.startswith("127.0.0.1:") for port in published["api"])
    assert COMPOSE["networks"]["inside"]["internal"] is True
    for name in ("postgres", "redis", "migrate"):
        assert SERVICES[name]["networks"] == ["inside"]


def test_keys_are_required_unless_somebody_says_otherwise() -> None:
    for name in ("api", "worker", "migrate"):
        assert SERVICES[name]["environment"]["GENDISTIL_KEYS"] == "${GENDISTIL_KEYS:-required}"


def test_no_secret_is_in_an_image_or_in_the_files() -> None:
    for line in DOCKERFILE.splitlines():
        if line.startswith(("ENV ", "ARG ")):
            assert SECRET.search(line) is None, line
    copied = re.findall(r"^(?:COPY|ADD) (.+)$", DOCKERFILE, re.MULTILINE)
    assert not [sources for sources in copied if {".", "./", "*"} & set(sources.split()[:-1])]
    assert (ROOT / ".dockerignore").read_text().split("\n")[1] == "*"
    for service in SERVICES.values():
        for key, value in service.get("environment", {}).items():
            if SECRET.search(key):
                # From outside: handed on, or asked for.
                assert value is None or re.fullmatch(r"\$\{\w+:\?[^}]*\}", value), key


def test_what_is_built_is_checked_by_its_hash() -> None:
    installs = re.findall(r"pip install (.+?)(?:&&|$)", DOCKERFILE.replace("\\\n", " "), re.MULTILINE)
    assert len(installs) == 5
    for arguments in installs:
        ours = arguments.strip() == "--no-deps --no-build-isolation ."
        assert ours or {"--require-hashes", "--only-binary"} <= set(arguments.split()), arguments


def test_the_server_does_not_name_itself_and_bounds_what_it_reads() -> None:
    command = DOCKERFILE.partition('CMD ["uvicorn"')[2].partition("]")[0]
    assert '"--no-server-header"' in command
    assert '"app.http_guard:GuardedProtocol"' in command
