"""What an examination says of one thing."""

from dataclasses import dataclass
from typing import Literal


@dataclass(frozen=True)
class Finding:
    """`fail`: the service cannot run so. `warn`: it can, but worse, or not yet. Both say in `remedy` what to do."""

    name: str
    status: Literal["ok", "warn", "fail"]
    detail: str
    remedy: str | None = None
