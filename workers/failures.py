"""What went wrong, said so that a caller can act on it, and whether trying again may help."""

import errno
import re
from dataclasses import dataclass, replace

import torch
from pydantic import ValidationError
from sqlalchemy.exc import InterfaceError, OperationalError

from app.storage import TornArtefact
from app.tracebacks import WITHHELD, is_tellable, place_of
from workers.execution import DamagedDataset, Lost
from workers.models import ModelUnavailable
from workers.training.onnx_export import ParityError

_OTHER_MODEL = (
    "Mend the model reference in the spec, then submit again; if it is right, see that the worker can read it, and resume the job."
)


@dataclass(frozen=True)
class Failure:
    type: str
    detail: str
    remedy: str
    retry: bool = False
    shrink: bool = False
    """Try again with smaller batches."""

    def as_error(self) -> dict[str, str]:
        return {"type": self.type, "detail": self.detail, "remedy": self.remedy}


def classify(error: BaseException) -> Failure:
    """Retried is only what may pass by itself: a database or a store that is away for a while."""
    detail = str(error) or type(error).__name__
    match error:
        case ModelUnavailable():
            return Failure("model-unavailable", detail, _OTHER_MODEL)
        case ParityError():
            return Failure("parity", detail, "Report this; the student's export is wrong.")
        case FloatingPointError():
            return Failure("diverged", detail, "Submit again with the lower learning rate.")
        case torch.OutOfMemoryError() | MemoryError():
            return _out_of_memory(detail)
        case _ if _system_error(error) == errno.ENOMEM:
            return _out_of_memory(detail)
        case DamagedDataset():
            return Failure("damaged-dataset", detail, "Post the same rows to /datasets again, which mends them; then resume the job.")
        case Lost() | TornArtefact():
            return Failure(
                "torn-artefact",
                f"Damaged or gone: {detail}",
                "The store damages what it keeps, or loses it: check it, then resume the job.",
            )
        case OperationalError() | InterfaceError():
            return Failure("database-unavailable", "The database did not answer.", "Check the database, then resume the job.", retry=True)
        case _ if _system_error(error) == errno.ENOSPC:
            return Failure("disk-full", detail, "Free some space, then resume the job.")
        case _ if _system_error(error) is not None:
            return Failure("storage-unavailable", detail, "Check the store and its permissions, then resume the job.", retry=True)
        case ValueError():
            return Failure("invalid-spec", detail, "Mend the spec as the message says, then submit again.")
        case _:
            return Failure("internal-error", f"{type(error).__name__}: {detail}", "The worker's log has the trace; please report it.")


def told(error: BaseException) -> Failure:
    """As `classify`, for rows and events: what may quote a text is left out."""
    failure = classify(error)
    if isinstance(error, ValidationError):
        faults = [f"{'.'.join(map(str, fault['loc']))}: {fault['msg']}" for fault in error.errors(include_input=False, include_url=False)]
        return replace(failure, detail="; ".join(faults))
    if is_tellable(error) or isinstance(error, OperationalError | InterfaceError):
        return failure
    return replace(failure, detail=f"{type(error).__name__} at {place_of(error)}: {WITHHELD}")


def _out_of_memory(detail: str) -> Failure:
    remedy = "Lower the stage's batch_size or max_tokens, then submit again; or resume the job where there is more memory."
    return Failure("out-of-memory", detail, remedy, retry=True, shrink=True)


def _system_error(error: BaseException) -> int | None:
    """The operating system's error number, 0 if it is not told; None if something else failed."""
    if isinstance(error, OSError):
        return error.errno or 0
    # Tokenizers and safetensors, which are written in Rust, raise it as an exception of their own.
    found = re.search(r"\(os error (\d+)\)", str(error))
    return int(found[1]) if found else None
