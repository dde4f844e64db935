"""A job that has labelled its texts, in the service's own database and store."""

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from app.contracts.reuse import expected_keys
from app.contracts.spec import JobSpec
from app.contracts.stages import Stage
from app.database import read_session_factory
from app.jobs.service import get_job
from tests.app.jobs.transitions import finish_alone
from tests.app.storage.conftest import store_artefact

Text = dict[str, Any]


def text(content: str, verdict: str = "kept", asked: str | None = "a", **probabilities: float) -> Text:
    """As the label stage writes it."""
    return {"text": content, "label": asked, "verdict": verdict, "probabilities": probabilities or None}


def as_lines(texts: Sequence[Text]) -> bytes:
    return "".join(json.dumps(text, ensure_ascii=False) + "\n" for text in texts).encode()


def label_texts(job_id: str, texts: Sequence[Text], folder: Path, name: str = "") -> None:
    """The job has sampled and labelled the texts. `name`: of its artefacts, where there are others."""
    with read_session_factory()() as session:
        job = get_job(session, job_id)
    expected = expected_keys(JobSpec.model_validate(job.spec), job.dataset.content_hash)[Stage.GENERATE]
    sampled, labelled = expected or f"generate-{name}", f"label-{name}"
    store_artefact(folder / sampled, sampled, {"texts.jsonl": as_lines(texts)}, Stage.GENERATE)
    store_artefact(folder / labelled, labelled, {"synthetic.jsonl": as_lines(texts)}, Stage.LABEL)
    finish_alone(job_id, Stage.GENERATE, sampled)
    finish_alone(job_id, Stage.LABEL, labelled)
