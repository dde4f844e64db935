"""The typed clients: `with Client() as client: job = client.create_job("triage", file=Path("rows.csv"))`, and `AsyncClient` alike.

What a method does stands once, in `calls`; here it gets its two forms.
"""

from gendistil import calls, settings
from gendistil.transport import DEFAULT_URL, AsyncConnection, Connection, awaited, blocking

__all__ = ["DEFAULT_URL", "AsyncClient", "Client"]


class Bulk:
    """Calls of `/predictions`: files of texts that a worker predicts. Every method raises `GendistilError`."""

    def __init__(self, connection: Connection) -> None:
        self.run = connection.run

    send = blocking(calls.predictions.send)
    get = blocking(calls.predictions.get)
    list = blocking(calls.predictions.all_sent)
    wait = blocking(calls.predictions.wait)
    save = blocking(calls.predictions.save)
    cancel = blocking(calls.predictions.cancel)
    delete = blocking(calls.predictions.delete)


class Webhooks:
    """Calls of `/webhooks`: who is told of what happens to jobs. Every method raises `GendistilError`."""

    def __init__(self, connection: Connection) -> None:
        self.run = connection.run

    create = blocking(calls.webhooks.create)
    get = blocking(calls.webhooks.get)
    list = blocking(calls.webhooks.all_webhooks)
    change = blocking(calls.webhooks.change)
    delete = blocking(calls.webhooks.delete)
    rotate = blocking(calls.webhooks.rotate)
    test = blocking(calls.webhooks.test)
    deliveries = blocking(calls.webhooks.deliveries)
    retry = blocking(calls.webhooks.retry)


class Keys:
    """Calls of `/keys`: who may do what. Every method raises `GendistilError`."""

    def __init__(self, connection: Connection) -> None:
        self.run = connection.run

    create = blocking(calls.access.create)
    list = blocking(calls.access.all_keys)
    revoke = blocking(calls.access.revoke)


class Projects:
    """Calls of `/projects`: whose rows are kept apart, and how much each may use. Every method raises `GendistilError`."""

    def __init__(self, connection: Connection) -> None:
        self.run = connection.run

    create = blocking(calls.projects.create)
    get = blocking(calls.projects.get)
    list = blocking(calls.projects.all_projects)
    change = blocking(calls.projects.change)
    delete = blocking(calls.projects.delete)


class Client(Connection):
    """A connection to one gendistil service. Every method raises `GendistilError`, which holds the service's problem+json."""

    def __init__(self, base_url: str = DEFAULT_URL, timeout: float = 60.0, *, api_key: str | None = None) -> None:
        """`timeout`: seconds, for each answer. `api_key`: None for that of the settings, which may be none; empty for none."""
        super().__init__(base_url, timeout, settings.api_key(base_url) if api_key is None else api_key)
        self.bulk = Bulk(self)
        self.webhooks = Webhooks(self)
        self.keys = Keys(self)
        self.projects = Projects(self)

    create_dataset = blocking(calls.datasets.create_dataset)
    dataset = blocking(calls.datasets.dataset)
    datasets = blocking(calls.datasets.datasets)
    delete_dataset = blocking(calls.datasets.delete_dataset)

    create_job = blocking(calls.jobs.create_job)
    estimate = blocking(calls.jobs.estimate)
    job = blocking(calls.jobs.job)
    jobs = blocking(calls.jobs.jobs)
    events = blocking(calls.jobs.events)
    wait = blocking(calls.jobs.wait)
    cancel = blocking(calls.jobs.cancel)
    resume = blocking(calls.jobs.resume)
    report = blocking(calls.jobs.report)
    report_html = blocking(calls.jobs.report_html)
    delete_job = blocking(calls.jobs.delete_job)

    synthetic = blocking(calls.texts.synthetic)
    save_synthetic = blocking(calls.texts.save_synthetic)
    distil_again = blocking(calls.texts.distil_again)

    predict = blocking(calls.predictions.predict)
    predict_file = blocking(calls.predictions.predict_file)

    students = blocking(calls.students.students)
    student = blocking(calls.students.student)
    point_alias = blocking(calls.students.point_alias)
    roll_back = blocking(calls.students.roll_back)
    alias_history = blocking(calls.students.alias_history)
    delete_alias = blocking(calls.students.delete_alias)
    set_shadow = blocking(calls.students.set_shadow)
    shadow = blocking(calls.students.shadow)
    delete_shadow = blocking(calls.students.delete_shadow)
    drift = blocking(calls.students.drift)
    download = blocking(calls.students.download)
    import_student = blocking(calls.students.import_student)
    delete_student = blocking(calls.students.delete_student)

    ready = blocking(calls.service.ready)
    catalogue = blocking(calls.service.catalogue)
    presets = blocking(calls.service.presets)
    collect_garbage = blocking(calls.service.collect_garbage)
    audit = blocking(calls.access.audit)


class AsyncBulk:
    """As `Bulk`, to be awaited."""

    def __init__(self, connection: AsyncConnection) -> None:
        self.run = connection.run

    send = awaited(calls.predictions.send)
    get = awaited(calls.predictions.get)
    list = awaited(calls.predictions.all_sent)
    wait = awaited(calls.predictions.wait)
    save = awaited(calls.predictions.save)
    cancel = awaited(calls.predictions.cancel)
    delete = awaited(calls.predictions.delete)


class AsyncWebhooks:
    """As `Webhooks`, to be awaited."""

    def __init__(self, connection: AsyncConnection) -> None:
        self.run = connection.run

    create = awaited(calls.webhooks.create)
    get = awaited(calls.webhooks.get)
    list = awaited(calls.webhooks.all_webhooks)
    change = awaited(calls.webhooks.change)
    delete = awaited(calls.webhooks.delete)
    rotate = awaited(calls.webhooks.rotate)
    test = awaited(calls.webhooks.test)
    deliveries = awaited(calls.webhooks.deliveries)
    retry = awaited(calls.webhooks.retry)


class AsyncKeys:
    """As `Keys`, to be awaited."""

    def __init__(self, connection: AsyncConnection) -> None:
        self.run = connection.run

    create = awaited(calls.access.create)
    list = awaited(calls.access.all_keys)
    revoke = awaited(calls.access.revoke)


class AsyncProjects:
    """As `Projects`, to be awaited."""

    def __init__(self, connection: AsyncConnection) -> None:
        self.run = connection.run

    create = awaited(calls.projects.create)
    get = awaited(calls.projects.get)
    list = awaited(calls.projects.all_projects)
    change = awaited(calls.projects.change)
    delete = awaited(calls.projects.delete)


class AsyncClient(AsyncConnection):
    """As `Client`, for any number of calls at a time: `async with AsyncClient() as client: job = await client.job(id)`."""

    def __init__(self, base_url: str = DEFAULT_URL, timeout: float = 60.0, *, api_key: str | None = None) -> None:
        """`timeout`: seconds, for each answer. `api_key`: None for that of the settings, which may be none; empty for none."""
        super().__init__(base_url, timeout, settings.api_key(base_url) if api_key is None else api_key)
        self.bulk = AsyncBulk(self)
        self.webhooks = AsyncWebhooks(self)
        self.keys = AsyncKeys(self)
        self.projects = AsyncProjects(self)

    create_dataset = awaited(calls.datasets.create_dataset)
    dataset = awaited(calls.datasets.dataset)
    datasets = awaited(calls.datasets.datasets)
    delete_dataset = awaited(calls.datasets.delete_dataset)

    create_job = awaited(calls.jobs.create_job)
    estimate = awaited(calls.jobs.estimate)
    job = awaited(calls.jobs.job)
    jobs = awaited(calls.jobs.jobs)
    events = awaited(calls.jobs.events)
    wait = awaited(calls.jobs.wait)
    cancel = awaited(calls.jobs.cancel)
    resume = awaited(calls.jobs.resume)
    report = awaited(calls.jobs.report)
    report_html = awaited(calls.jobs.report_html)
    delete_job = awaited(calls.jobs.delete_job)

    synthetic = awaited(calls.texts.synthetic)
    save_synthetic = awaited(calls.texts.save_synthetic)
    distil_again = awaited(calls.texts.distil_again)

    predict = awaited(calls.predictions.predict)
    predict_file = awaited(calls.predictions.predict_file)

    students = awaited(calls.students.students)
    student = awaited(calls.students.student)
    point_alias = awaited(calls.students.point_alias)
    roll_back = awaited(calls.students.roll_back)
    alias_history = awaited(calls.students.alias_history)
    delete_alias = awaited(calls.students.delete_alias)
    set_shadow = awaited(calls.students.set_shadow)
    shadow = awaited(calls.students.shadow)
    delete_shadow = awaited(calls.students.delete_shadow)
    drift = awaited(calls.students.drift)
    download = awaited(calls.students.download)
    import_student = awaited(calls.students.import_student)
    delete_student = awaited(calls.students.delete_student)

    ready = awaited(calls.service.ready)
    catalogue = awaited(calls.service.catalogue)
    presets = awaited(calls.service.presets)
    collect_garbage = awaited(calls.service.collect_garbage)
    audit = awaited(calls.access.audit)
