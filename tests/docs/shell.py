"""A page's commands in one bash, as a reader's terminal: variables stay from one block to the next."""

import os
import re
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path

from tests.docs.blocks import ROOT

SECONDS = 240
# The page's own curl, watched: it prints no progress, and what the service answered is kept for the test.
_PRELUDE = """
set -eo pipefail
exec 2>&1
curl() {
  local code=0
  command curl --silent --show-error --dump-header "$DOCS_RECORDS/headers" "$@" || code=$?
  cat "$DOCS_RECORDS/headers" >> "$DOCS_RECORDS/answers"
  return $code
}
"""


@dataclass(frozen=True)
class Answered:
    """`output`: of all commands of a block; `statuses` and `headers` (lower case, of the last) of its curls."""

    output: str
    statuses: list[int]
    headers: dict[str, str]


class Terminal:
    """Runs blocks in `folder`, where the examples and `.venv` lie as in a checkout. `data`: the data folder of the service at `url`."""

    def __init__(self, folder: Path, url: str, data: Path) -> None:
        self.folder, self._records = folder, folder.parent / f"{folder.name}-records"
        folder.mkdir()
        self._records.mkdir()
        for name in ("examples", "docs", "docker-compose.yml"):
            (folder / name).symlink_to(ROOT / name)
        (folder / ".venv").symlink_to(Path(sys.executable).parents[1])
        path = f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}"
        added = {
            "PATH": path,
            "GENDISTIL_URL": url,
            "GENDISTIL_DATA_DIR": str(data),
            "DOCS_RECORDS": str(self._records),
            "COLUMNS": "140",
            "NO_PROXY": "*",
        }
        added["HF_HUB_OFFLINE"] = "0"  # or the hub's client speaks to nobody, this service included
        # Not the settings of the machine that runs the tests, nor its own service.
        kept = {name: value for name, value in os.environ.items() if not name.startswith("GENDISTIL_")}
        self._bash = subprocess.Popen(
            ["bash", "--noprofile", "--norc"],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
            cwd=folder,
            env={**kept, **added},
            start_new_session=True,
        )
        self._blocks = 0
        self._send(_PRELUDE)

    def _send(self, text: str) -> None:
        assert self._bash.stdin is not None
        self._bash.stdin.write(text)
        self._bash.stdin.flush()

    def run(self, text: str) -> Answered:
        """Fails if a command of the block fails, with what it printed."""
        self._blocks += 1
        script, output, done = (self._records / f"{self._blocks}.{kind}" for kind in ("sh", "out", "done"))
        script.write_text(text)
        answers = self._records / "answers"
        answers.write_text("")
        self._send(f"source {script} > {output} 2>&1 < /dev/null\ntouch {done}\n")
        self._await(done, output)
        statuses = [int(found) for found in re.findall(r"(?m)^HTTP/\S+ (\d{3})", answers.read_text()) if found != "100"]
        last = answers.read_text().rpartition("HTTP/")[2].splitlines()[1:]
        headers = {name.lower(): value.strip() for name, _, value in (line.partition(":") for line in last) if value}
        return Answered(output.read_text(), statuses, headers)

    def python(self, text: str) -> Answered:
        """Runs a script of the page, in the same folder."""
        script = self._records / f"{self._blocks}.py"
        script.write_text(text)
        return self.run(f"python {script}\n")

    def _await(self, done: Path, output: Path) -> None:
        from tests.waiting import wait_for

        def ended() -> bool:
            return done.exists() or self._bash.poll() is not None

        wait_for(ended, SECONDS, lambda: f"the end of the block; it wrote {output.read_text()[-2000:]}")
        assert done.exists(), output.read_text()[-3000:]

    def close(self) -> None:
        if self._bash.poll() is None:
            self._bash.kill()
        self._bash.communicate()
