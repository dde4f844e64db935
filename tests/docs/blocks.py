"""Fenced blocks of the documentation. CONTRIBUTING.md says what their first lines mean."""

import re
from dataclasses import dataclass
from pathlib import Path

ROOT = Path(__file__).parents[2]
LANGUAGES = {"sh", "python", "json", "yaml", "text"}
SHELL, PYTHON, JSON, YAML, TEXT = "sh", "python", "json", "yaml", "text"
_OPENING = re.compile(r"( *)```(.*)")
_INFO = re.compile(r"(\w+)(?: not run: (.+))?")


@dataclass(frozen=True)
class Block:
    """`line` is that of its first fence; `reason`: why it is only parsed, None if it is run or compared."""

    page: Path
    line: int
    language: str
    reason: str | None
    text: str

    @property
    def place(self) -> str:
        return f"{self.page.relative_to(ROOT)}:{self.line}"


def pages() -> list[Path]:
    """Every page that we wrote for people: what is generated (results of benchmarks) is none."""
    return [ROOT / "README.md", ROOT / "CONTRIBUTING.md", ROOT / "examples" / "README.md", *sorted((ROOT / "docs").rglob("*.md"))]


def name_of(page: Path) -> str:
    return str(page.relative_to(ROOT))


def read_blocks(page: Path) -> list[Block]:
    """In their order. The language of one that is not of our kind is none of `LANGUAGES`."""
    blocks: list[Block] = []
    lines = enumerate(page.read_text().splitlines(), 1)
    for number, line in lines:
        if (opening := _OPENING.fullmatch(line)) is None:
            continue
        indent, info = opening[1], _INFO.fullmatch(opening[2])
        language, reason = (info[1], info[2]) if info else (opening[2], None)
        content: list[str] = []
        for _, inner in lines:
            if inner.strip() == "```":
                break
            content.append(inner.removeprefix(indent))
        else:
            language = f"{language}, never closed"
        blocks.append(Block(page, number, language, reason, "\n".join(content) + "\n"))
    return blocks
