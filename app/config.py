"""Settings, from the environment (prefix `GENDISTIL_`, `__` between levels) or a `.env` file.

`DATABASE_URL`, `REDIS_URL` and `STORAGE_URL` are read without the prefix too, as hosting platforms set them.
"""

from functools import lru_cache
from ipaddress import IPv4Network, IPv6Network
from pathlib import Path
from typing import Annotated, Literal

from pydantic import AliasChoices, BaseModel, BeforeValidator, Field, SecretStr
from pydantic_settings import BaseSettings, SettingsConfigDict

from app.contracts.stages import Stage


class Limits(BaseModel):
    """What one request may ask for. Every error that a limit causes states it."""

    max_upload_bytes: int = 50_000_000
    max_rows: int = 100_000
    max_classes: int = 1000
    max_text_chars: int = 20_000
    max_label_chars: int = 200
    min_rows_per_class: int = 5
    predict_max_inputs: int = 1000
    predict_max_chars: int = 20_000
    bulk_max_bytes: int = 500_000_000
    bulk_max_rows: int = 1_000_000
    page_size: int = 100
    json_max_bytes: int = 5_000_000
    body_grace_seconds: float = Field(30.0, gt=0, description="For a body to arrive, and as long again as it takes at `body_min_rate`.")
    body_min_rate: float = Field(20_000.0, gt=0, description="Bytes per second, on the average.")


class Serving(BaseModel):
    """What one API process does for predictions at a time."""

    max_requests: int = Field(256, ge=1, description="Predictions in work or waiting; one more is answered 429.")
    max_texts: int = Field(5000, ge=1, description="Texts of them in all.")
    max_body_bytes: int = Field(200_000_000, ge=1, description="Of requests that are being read, together.")
    body_seconds: float = Field(10.0, gt=0, description="For a request's body to arrive.")
    refresh_seconds: float = Field(0.5, gt=0, description="How often names are compared with the database, for changes by other processes.")
    escalate_seconds: float = Field(2.0, gt=0, description="For a teacher to answer; then the student's answer stands.")
    escalate_texts: int = Field(64, ge=1, description="Texts that wait for teachers at a time; more are not escalated.")


class WorkerSettings(BaseModel):
    heartbeat_seconds: float = Field(1.0, description="Also how soon progress shows and a cancellation is noticed.")
    lost_after_seconds: float = 60.0
    sweep_seconds: float = 5.0
    max_attempts: int = 3
    retry_seconds: float = Field(5.0, description="Before a stage is tried again; doubled with each attempt.")
    grace_seconds: float = Field(20.0, description="For a stage to be given back, once its worker has been told to stop.")
    checkpoint_seconds: float = Field(20.0, description="At least, between two checkpoints of a stage.")
    cancel_seconds: float = Field(4.0, description="For a cancelled stage to reach a safe point; then its process is ended.")
    isolate: bool = Field(True, description="Run each stage in a process of its own.")
    memory_bytes: int | None = Field(None, description="Of a machine with workers, for estimates; unset: this machine's.")
    threads: int | None = Field(None, description="Torch threads; unset: the cores this process may use.")


class WebhookSettings(BaseModel):
    """Where messages may go, and how often they are tried."""

    allow_http: bool = Field(False, description="Addresses without TLS. Loopback may do without in any case, if its network is allowed.")
    allowed_networks: list[IPv4Network | IPv6Network] = Field([], description="CIDR ranges allowed though they are not public.")
    max_webhooks: int = Field(100, ge=0)
    connect_seconds: float = Field(5.0, gt=0, description="For a name to be resolved, and for a connection to one of its addresses.")
    total_seconds: float = Field(15.0, gt=0, description="For a receiver to answer, from resolving its name on.")
    retry_seconds: list[float] = Field(
        [5.0, 300.0, 1800.0, 7200.0, 18000.0, 36000.0, 36000.0], description="Waits between attempts, each up to a fifth longer by chance."
    )
    disable_after_days: float = Field(5.0, gt=0, description="In which every attempt has failed.")
    rotation_seconds: float = Field(86_400.0, ge=0, description="For which a secret that was replaced signs too.")
    keep_days: float = Field(30.0, gt=0, description="After which a message leaves the log.")
    concurrency: int = Field(8, ge=1, description="Messages that one sender has under way, half of them at most to one webhook.")
    poll_seconds: float = Field(1.0, gt=0, description="How often messages that are due are looked for.")


class Settings(BaseSettings):
    model_config = SettingsConfigDict(env_prefix="GENDISTIL_", env_nested_delimiter="__", env_file=".env", extra="ignore")

    data_dir: Path = Path(".gendistil")
    database_url: str = Field("", validation_alias=AliasChoices("GENDISTIL_DATABASE_URL", "DATABASE_URL", "database_url"))
    redis_url: str = Field("redis://127.0.0.1:6379/0", validation_alias=AliasChoices("GENDISTIL_REDIS_URL", "REDIS_URL", "redis_url"))
    storage_url: str = Field("", validation_alias=AliasChoices("GENDISTIL_STORAGE_URL", "STORAGE_URL", "storage_url"))
    default_preset: str = "fast"
    models: list[str] = Field([], description="Patterns of the hub ids and folders that a job may name beside the presets' own models.")
    student_cache_bytes: int = Field(512_000_000, description="Published students kept hot in one API process.")
    keys: Literal["auto", "required", "off"] = Field(
        "auto", description="API keys. `auto`: none are asked for, and the service answers on a loopback address alone."
    )
    session_secret: SecretStr = Field(SecretStr(""), description="Signs the web page's sessions; unset: one of the data folder's own.")
    idempotency_seconds: int = Field(86_400, description="For which an Idempotency-Key is remembered.")
    reuse_across_projects: bool = Field(False, description="Projects that post the same rows share what stages make of them.")
    gc_grace_seconds: int = Field(3600, description="Younger blobs are no garbage: the row of what is being made is yet to come.")
    log_format: Literal["auto", "json", "text"] = Field("auto", description="`auto`: text on a terminal, else JSON.")
    log_level: Annotated[Literal["DEBUG", "INFO", "WARNING", "ERROR"], BeforeValidator(str.upper)] = "INFO"
    queues: dict[Stage, str] = Field({}, description="Queues of stages, where they are not those of the stage graph.")
    limits: Limits = Limits()
    serving: Serving = Serving()
    worker: WorkerSettings = WorkerSettings()
    webhooks: WebhookSettings = WebhookSettings()

    def resolved_database_url(self) -> str:
        """SQLAlchemy URL: the embedded SQLite file by default, and psycopg 3 for any PostgreSQL address."""
        if not self.database_url:
            return f"sqlite:///{self.data_dir.resolve() / 'gendistil.db'}"
        scheme, separator, rest = self.database_url.partition("://")
        return f"postgresql+psycopg://{rest}" if separator and scheme in {"postgres", "postgresql"} else self.database_url

    def resolved_storage_url(self) -> str:
        """fsspec URL of the blob store: a folder in the data directory by default."""
        return self.storage_url or f"file://{self.data_dir.resolve() / 'blobs'}"


@lru_cache
def get_settings() -> Settings:
    return Settings()
