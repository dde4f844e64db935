"""gendistil: a small labelled text dataset becomes a compact classifier. This package is the client and the command line."""

from gendistil.client import AsyncClient, Client
from gendistil.errors import Conflict, GendistilError, JobFailed, NotFound, Refused, Unavailable, WaitTimeout

__all__ = ["AsyncClient", "Client", "Conflict", "GendistilError", "JobFailed", "NotFound", "Refused", "Unavailable", "WaitTimeout"]
