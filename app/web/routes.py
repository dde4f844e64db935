"""The web page: all its routers, and the answer to addresses of it that there are not."""

from fastapi import APIRouter, Request, Response

from app.web.assets import router as assets
from app.web.job import router as job
from app.web.lists import router as lists
from app.web.login import router as login
from app.web.new import router as new
from app.web.reference import router as reference
from app.web.rendering import error_page, page_router
from app.web.report import documents
from app.web.report import router as report
from app.web.students import router as students
from app.web.students import trials
from app.web.texts import router as texts

_lost = page_router()


@_lost.get("/ui/{path:path}")
def no_such_page(path: str, request: Request) -> Response:
    return error_page(request, 404, "There is no such page", "The address may be mistyped, or what it showed was deleted.")


router = APIRouter()
router.include_router(assets)
router.include_router(lists)
router.include_router(login)
router.include_router(job)
router.include_router(new)
router.include_router(report)
router.include_router(documents)
router.include_router(students)
router.include_router(trials)
router.include_router(texts)
router.include_router(reference)
# The last one takes what no other has.
router.include_router(_lost)
