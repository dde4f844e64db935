"""Who may ask: whether API keys are on, and whether there is one that can make others."""

from sqlalchemy import make_url, or_, select
from sqlalchemy.exc import SQLAlchemyError
from sqlalchemy.orm import Session

from app.config import Settings
from app.database import make_engine
from app.doctor.findings import Finding
from app.doctor.parts import sqlite_file
from app.ownership import every_project
from app.principals import granted
from app.tables import ApiKey, utcnow

MAKE_ONE = "Make one: python -m app.access create --name ops --scope operator; gendistil up --keys does it on the first start."


def keys(settings: Settings) -> Finding:
    """What this machine's settings say; a service that runs may have others, which its own address tells."""
    if settings.keys == "auto":
        return Finding("keys", "ok", "off by the settings: the service then answers on this machine alone")
    if settings.keys == "off":
        remedy = "Set GENDISTIL_KEYS=required, unless something before the service asks who comes."
        return Finding("keys", "warn", "off: whoever reaches the service may do everything", remedy)
    file = sqlite_file(make_url(settings.resolved_database_url()))
    if file is not None and not file.exists():
        return Finding("keys", "warn", "required, and there is no key yet", MAKE_ONE)
    try:
        admins = _good_admins(settings)
    except (SQLAlchemyError, OSError, ImportError):
        return Finding("keys", "warn", "required; the database does not tell of any", "Mend what is said of the database.")
    if not admins:
        return Finding("keys", "warn", "required, and none with the scope operator or admin is good: nobody can make others", MAKE_ONE)
    return Finding("keys", "ok", f"required; {admins} with the scope operator or admin")


def _good_admins(settings: Settings) -> int:
    """How many keys with the scope `operator` or `admin`, of all projects, are neither revoked nor expired."""
    engine = make_engine(settings.resolved_database_url())
    good = or_(ApiKey.expires_at.is_(None), ApiKey.expires_at > utcnow())
    try:
        with every_project(), Session(engine) as session:
            found = session.scalars(select(ApiKey.scopes).where(ApiKey.revoked_at.is_(None), good))
            return sum("admin" in granted(scopes) for scopes in found)
    finally:
        engine.dispose()
