"""The Dockerfile and the compose files against the project: no engine runs here, but every name in them must exist."""

import importlib.util
import json
import re
import shlex
import shutil
import subprocess
import sys
from importlib.metadata import entry_points
from pathlib import Path
from typing import Any

import pytest
import yaml
from pydantic import AliasChoices

from app.config import Settings

ROOT = Path(__file__).parents[2]
PORT = "8000"
TOOL_VARIABLES = {f"PYTHON{name}" for name in ("UNBUFFERED", "DONTWRITEBYTECODE")} | {"HF_HOME"}
TOOL_VARIABLES |= {f"PIP_{name}" for name in ("NO_CACHE_DIR", "DISABLE_PIP_VERSION_CHECK", "ROOT_USER_ACTION")}


def instructions() -> list[tuple[str, str, str]]:
    """(stage, instruction, arguments) of the Dockerfile, continuation lines joined."""
    lines = re.sub(r"\\\n", " ", (ROOT / "Dockerfile").read_text()).splitlines()
    found, stage = [], ""
    for line in lines:
        if not line.strip() or line.startswith("#"):
            continue
        name, _, rest = line.strip().partition(" ")
        if name == "FROM":
            stage = rest.split(" AS ")[1]
        found.append((stage, name, rest.strip()))
    return found


def of(stage: str, name: str) -> list[str]:
    """An instruction's arguments in a stage and in the one it starts from."""
    return [rest for where, instruction, rest in instructions() if where in {"base", stage} and instruction == name]


def compose(file: str = "docker-compose.yml") -> dict[str, Any]:
    loaded: dict[str, Any] = yaml.safe_load((ROOT / file).read_text())
    return loaded


def substituted(value: str) -> str:
    """`${NAME:-default}` becomes its default, a required `${NAME:?message}` becomes `secret`."""
    return re.sub(r"\$\{\w+(?::-([^}]*)|:\?[^}]*)\}", lambda match: match[1] if match[1] is not None else "secret", value)


def setting_names() -> set[str]:
    names: set[str] = set()
    for name, field in Settings.model_fields.items():
        if isinstance(field.validation_alias, AliasChoices):
            names.update(str(choice) for choice in field.validation_alias.choices if str(choice).isupper())
        else:
            names.add(f"GENDISTIL_{name}".upper())
    return names


def check_command(command: list[str]) -> None:
    """The program exists, and so does the module or the application that it is told to run."""
    if command[:2] == ["python", "-m"]:
        assert importlib.util.find_spec(command[2]) is not None, command
    elif command[0] == "python":
        assert command[1] == "-c"
        compile(command[2], "health check", "exec")
    else:
        assert any(script.name == command[0] for script in entry_points(group="console_scripts")), command
        assert shutil.which(command[0], path=str(Path(sys.executable).parent)), command
    if command[0] == "uvicorn":
        module, _, name = command[1].partition(":")
        # In a process of its own, because the application sets up its process's logs.
        program = f"import {module}, fastapi; assert isinstance({module}.{name}, fastapi.FastAPI)"
        assert subprocess.run([sys.executable, "-c", program], cwd=ROOT, timeout=120, check=False).returncode == 0
        assert command[command.index("--port") + 1] == PORT


@pytest.mark.parametrize("stage", ["api", "worker"])
def test_image_commands_exist(stage: str) -> None:
    commands = [json.loads(rest) for rest in of(stage, "CMD")]
    assert len(commands) == 1
    check_command(commands[0])


def test_worker_image_has_torch_and_the_weights_and_the_api_has_neither() -> None:
    worker, api = " ".join(of("worker", "RUN")), " ".join(of("api", "RUN"))
    assert "weights.txt" in worker
    assert "torch" in worker
    assert "requirements/worker.txt" in worker
    for image in (worker, api):
        assert "requirements/base.txt" in image
        assert "requirements/s3.txt" in image
    assert "torch" not in api
    assert "weights" not in api
    assert "worker" not in api
    assert not any("dev" in rest for rest in (worker, api))


@pytest.mark.parametrize("stage", ["api", "worker"])
def test_images_run_as_a_user_that_they_make(stage: str) -> None:
    users = of(stage, "USER")
    assert users == ["gendistil"]
    assert any(f"useradd --system --uid 10001 --user-group --create-home {users[0]}" in rest for rest in of("base", "RUN"))


def test_copied_paths_exist_and_docker_may_see_them() -> None:
    allowed = {line[1:] for line in (ROOT / ".dockerignore").read_text().splitlines() if line.startswith("!")}
    copied = [source for _, name, rest in instructions() if name == "COPY" for source in rest.split()[:-1]]
    assert len(copied) > 8
    for source in copied:
        assert (ROOT / source).exists(), source
        assert source in allowed, f"{source} is kept from the images by .dockerignore"


def test_every_requirement_is_pinned() -> None:
    pinned = re.findall(r"^([\w.-]+)==[\w.!+]+$", (ROOT / "constraints.txt").read_text(), re.MULTILINE)
    assert {"torch", "fastapi", "celery", "pytest"} <= {name.lower() for name in pinned}
    assert len(pinned) == len(set(pinned))


def test_ports_agree() -> None:
    api = compose()["services"]["api"]
    assert of("api", "EXPOSE") == [PORT]
    assert [substituted(port).split(":")[-1] for port in api["ports"]] == [PORT]
    health = next(rest for rest in of("api", "HEALTHCHECK"))
    tested = json.loads(health[health.index("[") :])
    check_command(tested)
    assert api["healthcheck"]["test"] == ["CMD", *tested]
    assert f"127.0.0.1:{PORT}/healthz" in tested[2]


@pytest.mark.parametrize("service", ["migrate", "api", "worker"])
def test_compose_services_match_the_settings(service: str, clean_settings: pytest.MonkeyPatch) -> None:
    definition = compose()["services"][service]
    handed_on = {name for name, value in definition["environment"].items() if value is None}
    documented = (ROOT / "docs" / "deployment.md").read_text()
    assert all((name.startswith("AWS_") or name == "FORWARDED_ALLOW_IPS") and name in documented for name in handed_on)
    environment = {name: substituted(value) for name, value in definition["environment"].items() if name not in handed_on}
    assert set(environment) <= setting_names()
    for name, value in environment.items():
        clean_settings.setenv(name, value)
    settings = Settings()
    assert settings.resolved_database_url() == "postgresql+psycopg://gendistil:secret@postgres:5432/gendistil"
    assert settings.redis_url == "redis://redis:6379/0"
    assert settings.resolved_storage_url() == "file:///var/lib/gendistil/blobs"
    if "command" in definition:
        check_command(definition["command"])


def test_image_variables_are_settings() -> None:
    variables = {word.partition("=")[0] for _, name, rest in instructions() if name == "ENV" for word in shlex.split(rest)}
    assert "GENDISTIL_DATA_DIR" in variables
    assert variables - TOOL_VARIABLES <= setting_names()


def test_api_and_worker_share_the_blobs() -> None:
    loaded = compose()
    data_dir = next(rest.partition("=")[2] for rest in of("api", "ENV") if rest.startswith("GENDISTIL_DATA_DIR"))
    for service in ("api", "worker"):
        assert f"data:{data_dir}" in loaded["services"][service]["volumes"]
    named = {volume.partition(":")[0] for service in loaded["services"].values() for volume in service.get("volumes", [])}
    assert named == set(loaded["volumes"])


def test_dependencies_can_be_met() -> None:
    services = compose()["services"]
    for name, service in services.items():
        for other, need in service.get("depends_on", {}).items():
            assert other in services, f"{name} waits for {other}"
            if need["condition"] == "service_healthy":
                assert "healthcheck" in services[other], f"{other} has no health check"
    # The hosts in the settings are the names of services.
    settings = services["api"]["environment"]
    assert "@postgres:" in settings["DATABASE_URL"]
    assert "//redis:" in settings["REDIS_URL"]
    database = services["postgres"]["environment"]
    assert f"//{database['POSTGRES_USER']}:{database['POSTGRES_PASSWORD']}@" in settings["DATABASE_URL"]
    assert settings["DATABASE_URL"].endswith(f"/{database['POSTGRES_DB']}")


def test_build_targets_and_arguments_exist() -> None:
    stages = {stage for stage, name, _ in instructions() if name == "FROM"}
    arguments = {(stage, rest.partition("=")[0]) for stage, name, rest in instructions() if name == "ARG"}
    services, gpu = compose()["services"], compose("docker-compose.gpu.yml")["services"]
    for service in services.values():
        if "build" in service:
            assert service["build"]["target"] in stages
    assert set(gpu) <= set(services)
    for name, service in gpu.items():
        for argument in service["build"]["args"]:
            assert (services[name]["build"]["target"], argument) in arguments


def test_the_gpu_is_reserved_for_the_worker() -> None:
    (device,) = compose("docker-compose.gpu.yml")["services"]["worker"]["deploy"]["resources"]["reservations"]["devices"]
    assert device == {"driver": "nvidia", "count": 1, "capabilities": ["gpu"]}
