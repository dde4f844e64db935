"""The methods of the client by topic, each a flow of steps; `client.py` gives them to both clients."""

from gendistil.calls import access, datasets, jobs, predictions, projects, service, students, texts, webhooks

__all__ = ["access", "datasets", "jobs", "predictions", "projects", "service", "students", "texts", "webhooks"]
