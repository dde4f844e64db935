"""SECURITY.md: every place that it names is there."""

import re
from pathlib import Path

ROOT = Path(__file__).parents[2]
TEXT = (ROOT / "SECURITY.md").read_text()


def test_what_the_threat_model_names_exists() -> None:
    paths = set(re.findall(r"`((?:app|workers|tests|requirements|docker)[\w./-]*)`", TEXT)) | set(re.findall(r"\]\(([\w./-]+)", TEXT))
    assert len(paths) > 12
    assert sorted(path for path in paths if not (ROOT / path).exists()) == []
