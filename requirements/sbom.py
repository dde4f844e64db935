"""What the service runs with, as CycloneDX. `make sbom`, or `python requirements/sbom.py FILE`

Of the environment it is started in, as installed; less what only tests and tools need, which no image has.
"""

import json
import re
import subprocess
import sys
from pathlib import Path
from typing import Any

from cyclonedx.schema import SchemaVersion
from cyclonedx.validation.json import JsonStrictValidator

HERE = Path(__file__).parent
ROOT = HERE.parent
RUNTIME = (*(HERE / f"{group}.txt" for group in ("base", "worker", "embedded", "s3", "torch")), ROOT / "weights.txt")
VERSION = SchemaVersion.V1_6


def plain(name: str) -> str:
    """A package's name as packages are compared (PyPA, "Names and normalization")."""
    return re.sub(r"[-_.]+", "-", name).lower()


def runtime_names() -> set[str]:
    return {plain(name) for lock in RUNTIME for name in re.findall(r"^([\w.-]+)==", lock.read_text(), re.MULTILINE)}


def environment() -> dict[str, Any]:
    """The bill of everything that is installed beside this Python."""
    command = [sys.executable, "-m", "cyclonedx_py", "environment", "--pyproject", str(ROOT / "pyproject.toml"), "--mc-type", "application"]
    options = ["--spec-version", VERSION.to_version(), "--output-reproducible", "--no-validate", "--of", "JSON", sys.executable]
    bill: dict[str, Any] = json.loads(subprocess.run([*command, *options], capture_output=True, check=True).stdout)
    return bill


def of_the_runtime(bill: dict[str, Any]) -> dict[str, Any]:
    """Less the components that the locks of the runtime do not name, and what leads to them."""
    names = runtime_names()
    kept = [component for component in bill["components"] if plain(component["name"]) in names]
    references = {component["bom-ref"] for component in kept} | {bill["metadata"]["component"]["bom-ref"]}
    dependencies = [
        {**entry, "dependsOn": [other for other in entry.get("dependsOn", []) if other in references]}
        for entry in bill["dependencies"]
        if entry["ref"] in references
    ]
    return {**bill, "components": kept, "dependencies": dependencies}


def main(output: Path) -> int:
    made = json.dumps(of_the_runtime(environment()), indent=2) + "\n"
    if (fault := JsonStrictValidator(VERSION).validate_str(made)) is not None:
        print(f"The bill is not valid: {fault!r}")
        return 1
    output.parent.mkdir(parents=True, exist_ok=True)
    output.write_text(made)
    print(f"{output}: {len(json.loads(made)['components'])} components.")
    return 0


if __name__ == "__main__":
    sys.exit(main(Path(sys.argv[1])))
