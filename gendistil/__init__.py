"""gendistil: a small labelled text dataset becomes a compact classifier. This package is the client and the command line."""

from gendistil.client import AsyncClient, Client
from gendistil.errors import Conflict, Forbidden, GendistilError, JobFailed, NotFound, Refused, Unauthenticated, Unavailable, WaitTimeout

__all__ = [
    "AsyncClient",
    "Client",
    "Conflict",
    "Forbidden",
    "GendistilError",
    "JobFailed",
    "NotFound",
    "Refused",
    "Unauthenticated",
    "Unavailable",
    "WaitTimeout",
]
