"""Tiny real students, served by a real API process."""

from tests.app.predictions.conftest import publish
from tests.gendistil.conftest import service_url

__all__ = ["publish", "service_url"]
