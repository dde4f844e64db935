"""`python -m gendistil.demo`: the bundled example from rows to predictions, on a service that it starts and stops itself."""

import os
import shlex
import shutil
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Annotated

import httpx
import typer
from rich.console import Console

from gendistil.background import START_SECONDS, end, free_port, log_of, tail
from gendistil.client import Client
from gendistil.display import JobDisplay
from gendistil.errors import GendistilError, JobFailed
from gendistil.figures import duration
from gendistil.tables import predictions_table, report_table
from gendistil.terminal import fail, make_console

EXAMPLES = Path(__file__).resolve().parent.parent / "examples"
NAME = "banking-demo"
OWN = {"GENDISTIL_DATABASE_URL": "", "GENDISTIL_STORAGE_URL": "", "GENDISTIL_KEYS": "auto"}
"""Whatever the environment or a `.env` file names, the demo keeps to its own data folder."""
TEXTS = [
    "My new card still has not turned up in the mail",
    "How many days does it take to get a card sent to Ireland?",
    "Why is there a fee on my statement for paying in a shop?",
    "I sent the rent to my landlord and he swears he never got it",
    "my top up went through and then the money was gone again",
]
"""Written for the demo; none is in the example's rows."""


def main(
    data_dir: Annotated[Path, typer.Option(help="Kept, so that a second run reuses what is done.")] = Path(".gendistil/demo"),
    preset: Annotated[str, typer.Option()] = "fast",
    keep: Annotated[bool, typer.Option("--keep", help="Leave the service running until Ctrl-C.")] = False,
) -> None:
    """Distil the bundled example into a student, show its report, and predict with it."""
    console = make_console()
    try:
        with service(console, data_dir) as (client, process):
            run(client, console, preset)
            if keep:
                console.print(f"The service runs on at {client.base_url} (docs: {client.base_url}/docs). Stop it with Ctrl-C.")
                process.wait()
                raise GendistilError("The service ended.", remedy="See the log above.")
    except KeyboardInterrupt:
        console.print("Stopped. What was finished is kept: run it again to go on from there.")
        raise typer.Exit(0 if keep else 130) from None
    except GendistilError as error:
        logs = (data_dir / "logs").resolve()
        log = logs / ("worker.log" if isinstance(error, JobFailed) else "up.log")
        print(f"--- last lines of {log} ---\n{tail(log)}\n---", file=sys.stderr)
        error.remedy = f"{error.remedy or 'See the log above and run the demo again.'} All logs: {logs}"
        fail(error)
    command = shlex.quote(command_here())
    console.print("To leave it running, and ask it again in another terminal:", highlight=False)
    for line in (f"up --data-dir {shlex.quote(str(data_dir))}", f"predict {NAME} 'where is my card?'"):
        console.print(f"  {command} {line}", markup=False, highlight=False, soft_wrap=True)


def command_here() -> str:
    """The command line of this installation, as a shell in this folder finds it."""
    command = Path(sys.executable).with_name("gendistil")
    if shutil.which("gendistil") == str(command):
        return "gendistil"
    return str(command.relative_to(Path.cwd()) if command.is_relative_to(Path.cwd()) else command)


def run(client: Client, console: Console, preset: str) -> None:
    """Posts the example, watches the job, prints its report and a few predictions. Raises `GendistilError`."""
    for leftover in client.jobs():
        if leftover.name == NAME and not leftover.ended:  # of a demo that was interrupted; its finished stages are reused
            client.cancel(leftover.id)
    file, test_file = EXAMPLES / "banking10.csv", EXAMPLES / "banking10_test.csv"
    what = f"name={NAME}, preset={preset}, file={file.name}, test_file={test_file.name}"
    console.print(f"POST {client.base_url}/jobs: {what}", highlight=False, soft_wrap=True)
    began = time.monotonic()
    job = client.create_job(NAME, file=file, test_file=test_file, preset=preset)
    for warning in job.warnings:
        console.print(f"Warning: {warning}", markup=False, style="yellow", soft_wrap=True)
    try:
        with JobDisplay(console) as display:
            client.wait(job.id, on_update=display.update)
    except KeyboardInterrupt:
        client.cancel(job.id)
        raise
    console.print(f"The job took {duration(time.monotonic() - began)}.\n", highlight=False)
    console.print(report_table(client.report(job.id)))
    console.print()
    client.predict(NAME, TEXTS[0])  # the first call loads the student
    answer = client.predict(NAME, TEXTS, top_k=3)
    console.print(predictions_table(TEXTS, answer))
    console.print(f"One text, over HTTP: {_latency_ms(client):.1f} ms (median of 20 calls).\n", highlight=False)


def _latency_ms(client: Client) -> float:
    seconds = []
    for attempt in range(20):
        began = time.perf_counter()
        client.predict(NAME, TEXTS[attempt % len(TEXTS)])
        seconds.append(time.perf_counter() - began)
    return 1000 * sorted(seconds)[len(seconds) // 2]


@contextmanager
def service(console: Console, data_dir: Path) -> Iterator[tuple[Client, subprocess.Popen[bytes]]]:
    """Runs `gendistil up` on a free port. Raises `GendistilError` if it does not become ready, or has died when the work broke off."""
    port = free_port()
    url = f"http://127.0.0.1:{port}"
    log = log_of(data_dir)
    log.parent.mkdir(parents=True, exist_ok=True)
    command = [sys.executable, "-m", "gendistil.cli", "up", "--port", str(port), "--data-dir", str(data_dir), "--parent", str(os.getpid())]
    console.print(f"Starting the service: Redis, the database, a worker and the API (log: {log}) ...", highlight=False, soft_wrap=True)
    began = time.monotonic()
    with log.open("wb") as output:
        # A session of its own: a Ctrl-C in this terminal must reach this process alone, which then stops the service.
        process = subprocess.Popen(
            command, stdin=subprocess.DEVNULL, stdout=output, stderr=subprocess.STDOUT, env={**os.environ, **OWN}, start_new_session=True
        )
    try:
        _await_ready(process, url, log)
        console.print(f"Ready in {time.monotonic() - began:.1f} s at {url}\n", highlight=False)
        with Client(url) as client:
            yield client, process
    except GendistilError as error:
        if process.poll() is not None and error.status is None:
            detail = f"The service ended while it was needed (exit code {process.returncode})."
            raise GendistilError(detail, remedy=f"See {log}.") from error
        raise
    finally:
        end(process)


def _await_ready(process: subprocess.Popen[bytes], url: str, log: Path) -> None:
    deadline = time.monotonic() + START_SECONDS
    while time.monotonic() < deadline:
        if process.poll() is not None:
            raise GendistilError("The service did not start.", remedy=f"See {log}.")
        try:
            if httpx.get(f"{url}/readyz", timeout=5, trust_env=False).status_code == 200:
                return
        except httpx.TransportError:
            pass
        time.sleep(0.2)
    raise GendistilError(f"The service was not ready within {START_SECONDS:.0f} s.", remedy=f"See {log}.")


if __name__ == "__main__":
    typer.run(main)
