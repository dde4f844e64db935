"""gendistil: a small labelled text dataset becomes a compact classifier. This package is the client and the command line."""

from gendistil.client import Client
from gendistil.errors import GendistilError, JobFailed, WaitTimeout

__all__ = ["Client", "GendistilError", "JobFailed", "WaitTimeout"]
