"""What a project has and uses, and whether it may have more."""

from app.quotas.figures import UsageFigures, book, usage
from app.quotas.limits import check_job, check_rows, check_space

__all__ = ["UsageFigures", "book", "check_job", "check_rows", "check_space", "usage"]
