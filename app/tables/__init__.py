"""The tables."""

from app.tables.access import ApiKey, AuditEntry
from app.tables.base import Base, UtcDateTime, utcnow
from app.tables.jobs import Dataset, Event, Job, StageRun
from app.tables.projects import Project, Usage
from app.tables.requests import BulkPrediction, IdempotencyKey, OpenAiFile, OpenAiJob
from app.tables.students import Alias, AliasMove, RetiredVersion, Shadow, Student, Traffic
from app.tables.webhooks import Webhook, WebhookDelivery

__all__ = [
    "Alias",
    "AliasMove",
    "ApiKey",
    "AuditEntry",
    "Base",
    "BulkPrediction",
    "Dataset",
    "Event",
    "IdempotencyKey",
    "Job",
    "OpenAiFile",
    "OpenAiJob",
    "Project",
    "RetiredVersion",
    "Shadow",
    "StageRun",
    "Student",
    "Traffic",
    "Usage",
    "UtcDateTime",
    "Webhook",
    "WebhookDelivery",
    "utcnow",
]
