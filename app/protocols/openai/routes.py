"""`/v1`: the part of OpenAI's API that makes a classifier and asks it (https://platform.openai.com/docs/api-reference/fine-tuning)."""

from fastapi import APIRouter

from app.protocols.openai.chat import router as chat
from app.protocols.openai.file_routes import router as files
from app.protocols.openai.job_routes import router as jobs
from app.protocols.openai.models import router as models

router = APIRouter(prefix="/v1", tags=["openai"])
for part in (files, jobs, models, chat):
    router.include_router(part)
