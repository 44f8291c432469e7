"""What the service takes and gives. Made of its OpenAPI document by `sdk/python/generate.py`: do not change it."""

from __future__ import annotations

from enum import Enum
from typing import Any

from pydantic import AwareDatetime, BaseModel, ConfigDict, Field, RootModel


class AdoptBody(BaseModel):
    """
    Which trial.
    """

    model_config = ConfigDict(
        extra='allow',
    )
    run_id: str | None = None
    """
    The trial; the best when nothing is said.
    """


class Aggregate(str, Enum):
    """
    What becomes of a window's values: the mean, the smallest, the largest, the sum, how many there are, the first, the
    last, the largest less the smallest, the standard deviation.
    """

    avg = 'avg'
    min = 'min'
    max = 'max'
    sum = 'sum'
    count_ = 'count'
    first = 'first'
    last = 'last'
    spread = 'spread'
    stddev = 'stddev'


class Alive(BaseModel):
    """
    That the process is alive.
    """

    model_config = ConfigDict(
        extra='allow',
    )
    status: str
    """
    alive
    """
    version: str
    """
    The server's version.
    """


class Asha(BaseModel):
    """
    How trials are ended early.
    """

    model_config = ConfigDict(
        extra='allow',
    )
    min_steps: int
    """
    No trial is judged before so many of the plugin's steps.
    """
    reduction: int
    """
    Of so many trials at a rung, one goes on.
    """


class AuditLine(BaseModel):
    """
    A change that somebody made.
    """

    model_config = ConfigDict(
        extra='allow',
    )
    action: str
    """
    Such as `train`.
    """
    at: AwareDatetime
    """
    When.
    """
    details: Any
    """
    More of it.
    """
    subject: str
    """
    Such as `model 7`.
    """
    who: str
    """
    The token's name, or `local`.
    """


class Card(BaseModel):
    """
    A card of a worker. What nobody tells is null.
    """

    model_config = ConfigDict(
        extra='allow',
    )
    healthy: bool
    """
    Whether jobs can use it.
    """
    index: int
    """
    Its number: `cuda:N`.
    """
    memory_mb: int | None = None
    """
    MiB of its memory.
    """
    memory_used_mb: int | None = None
    """
    MiB that are in use, by whomever.
    """
    name: str | None = None
    """
    What its maker calls it.
    """
    power_w: float | None = None
    """
    Watts that it takes.
    """
    problem: str | None = None
    """
    Why not.
    """
    promised_mb: int
    """
    MiB that the jobs on it were promised.
    """
    running: list[str]
    """
    The jobs that are on it.
    """
    temperature_c: float | None = None
    """
    Degrees Celsius.
    """
    utilization: float | None = None
    """
    Percent of the time that it computes.
    """


class ColumnReport(BaseModel):
    """
    A column's figures.
    """

    model_config = ConfigDict(
        extra='allow',
    )
    distinct: int | None = None
    """
    Different texts, in a column of text.
    """
    max: float | None = None
    """
    The largest number.
    """
    mean: float | None = None
    """
    The numbers' mean.
    """
    min: float | None = None
    """
    The smallest number.
    """
    missing: int
    """
    Rows without a value.
    """
    name: str
    """
    Its name.
    """
    spark: list[float | None] | None = None
    """
    The numbers' course, of the first device: means of up to 60 equal stretches of rows; null where a stretch has none.
    """
    type: str
    """
    number, text or time.
    """


class DeadLetter(BaseModel):
    """
    A job that was given up.
    """

    model_config = ConfigDict(
        extra='allow',
    )
    at: AwareDatetime
    """
    When it was given up.
    """
    error: str
    """
    Why nobody tries any more.
    """
    model_id: int
    """
    The model.
    """
    queue: str
    """
    Where it waited.
    """
    run_id: str
    """
    The run.
    """
    task: str
    """
    What was to be done with it.
    """


class DeletedModel(BaseModel):
    """
    A model that is gone.
    """

    model_config = ConfigDict(
        extra='allow',
    )
    id: int
    """
    Its number.
    """
    runs: list[str]
    """
    Its runs.
    """


class DeviceReport(BaseModel):
    """
    A device's rows.
    """

    model_config = ConfigDict(
        extra='allow',
    )
    name: str
    """
    Its name.
    """
    rows: int
    """
    Its rows.
    """


class DevicesReport(BaseModel):
    """
    The devices of a table.
    """

    model_config = ConfigDict(
        extra='allow',
    )
    count: int
    """
    How many there are.
    """
    first: list[DeviceReport]
    """
    The first 50 of them.
    """


class Error(BaseModel):
    """
    An error as it is sent.
    """

    model_config = ConfigDict(
        extra='allow',
    )
    code: int
    """
    The HTTP status.
    """
    details: Any | None = None
    """
    More of it, for programs.
    """
    error: str
    """
    A stable name for programs.
    """
    message: str
    """
    What was wrong and where, in one line.
    """
    remedy: str | None = None
    """
    What to do about it.
    """


class Evaluated(BaseModel):
    """
    Figures of a result on some rows.
    """

    model_config = ConfigDict(
        extra='allow',
    )
    metrics: dict[str, Any]
    """
    By name.
    """
    warnings: list[str]
    """
    What may be wrong.
    """


class Figure(BaseModel):
    """
    What trials are judged by.
    """

    model_config = ConfigDict(
        extra='allow',
    )
    goal: str
    """
    `minimize` or `maximize`.
    """
    metric: str
    """
    Its name.
    """


class FileForm(BaseModel):
    """
    A form with a file.
    """

    model_config = ConfigDict(
        extra='allow',
    )
    file: bytes = Field(
        ..., json_schema_extra={'contentMediaType': 'application/octet-stream'}
    )
    """
    The file.
    """


class Fill1(str, Enum):
    """
    What stands in windows without rows.
    """

    none = 'none'


class Fill2(str, Enum):
    """
    What stands in windows without rows.
    """

    null = 'null'


class Fill3(str, Enum):
    """
    What stands in windows without rows.
    """

    previous = 'previous'


class Fill4(str, Enum):
    """
    What stands in windows without rows.
    """

    linear = 'linear'


class Fill5(BaseModel):
    """
    What stands in windows without rows.
    """

    model_config = ConfigDict(
        extra='allow',
    )
    value: float


class Gap(BaseModel):
    """
    A gap.
    """

    model_config = ConfigDict(
        extra='allow',
    )
    device: str | None = None
    """
    The device in whose rows it is, where there are several.
    """
    from_: str = Field(..., alias='from')
    """
    The last time before it.
    """
    missing_rows: int
    """
    Rows that would fill it.
    """
    to: str
    """
    The first time after it.
    """


class GapReport(BaseModel):
    """
    Where rows are missing in time.
    """

    model_config = ConfigDict(
        extra='allow',
    )
    count: int
    """
    How many gaps there are: distances of more than 1.5 usual steps of the same device.
    """
    longest: list[Gap]
    """
    The longest of them, longest first.
    """
    missing_rows: int
    """
    Rows that would fill them.
    """
    step: str
    """
    The usual distance between rows.
    """


class JsonSchema(RootModel[dict[str, Any]]):
    """
    A JSON Schema of one object.
    """

    root: dict[str, Any]


class LogLine(BaseModel):
    """
    A line of a log.
    """

    model_config = ConfigDict(
        extra='allow',
    )
    level: str
    """
    DEBUG, INFO, WARNING or ERROR.
    """
    message: str
    """
    The line.
    """
    timestamp: AwareDatetime
    """
    When.
    """


class LogLines(BaseModel):
    """
    Lines of a log.
    """

    model_config = ConfigDict(
        extra='allow',
    )
    items: list[LogLine]
    """
    The lines, oldest first.
    """
    run_id: str
    """
    The run.
    """


class ModelStatus(str, Enum):
    """
    Where a model is.
    """

    DRAFT = 'DRAFT'
    PENDING = 'PENDING'
    PREPARING = 'PREPARING'
    TRAINING = 'TRAINING'
    TRAINED = 'TRAINED'
    ERROR = 'ERROR'


class PluginVersion(BaseModel):
    """
    A version of a plugin. It never changes.
    """

    model_config = ConfigDict(
        extra='allow',
    )
    contract: str | None = None
    """
    The version of the contract that it was built for.
    """
    created_at: AwareDatetime
    """
    When it was uploaded.
    """
    digest: str
    """
    SHA-256 of the file, in hexadecimal.
    """
    metrics: Any
    """
    What its evaluation gives.
    """
    name: str
    """
    What it calls itself.
    """
    parameters: dict[str, Any]
    """
    JSON Schema of its parameters.
    """
    size: int
    """
    Bytes of the file.
    """
    summary: str
    """
    One line.
    """
    tasks: list[str]
    """
    Which of forecasting, regression, classification it can do.
    """
    version: str
    """
    Semantic version.
    """


class Predicted(BaseModel):
    """
    Predicted values.
    """

    model_config = ConfigDict(
        extra='allow',
    )
    columns: list[str]
    """
    `forecast` (with several windows), the time column or `row`, then the targets, or the class and a `p(class)` each.
    """
    rows: list[list[Any]]
    """
    In the order of the columns.
    """
    warnings: list[str]
    """
    What may be wrong.
    """
    written: int | None = None
    """
    Rows that were written to the sink, where there is one.
    """


class Preprocess(BaseModel):
    """
    What happens to rows before training.
    """

    model_config = ConfigDict(
        extra='allow',
    )
    duplicates: str | None = None
    """
    Repeated times: error, first, last or mean.
    """
    missing: str | None = None
    """
    Missing values: auto, error, drop, forward, linear or mean.
    """
    scale_target: bool | None = None
    """
    Whether targets are scaled too.
    """
    scaling: str | None = None
    """
    How columns are scaled, by the training rows: none, standard, min_max or robust.
    """
    sort: bool | None = None
    """
    Whether rows are sorted by time.
    """


class Queue(BaseModel):
    """
    A queue.
    """

    model_config = ConfigDict(
        extra='allow',
    )
    name: str
    """
    Its name.
    """
    taken: int
    """
    Jobs that a worker has.
    """
    waiting: int
    """
    Jobs that wait in it.
    """
    workers: int
    """
    Live workers that serve it. Where there are none, what waits goes on waiting.
    """


class Ready(BaseModel):
    """
    That everything can be used.
    """

    model_config = ConfigDict(
        extra='allow',
    )
    parts: dict[str, Any]
    """
    Each part with `ok` or what is wrong with it.
    """
    status: str
    """
    ready
    """


class Replayed(BaseModel):
    """
    A job that is tried once more.
    """

    model_config = ConfigDict(
        extra='allow',
    )
    model_id: int
    """
    Its model.
    """
    task_id: str
    """
    The new run.
    """


class ResourceUsage(BaseModel):
    """
    What the operating system says that a run used.
    """

    model_config = ConfigDict(
        extra='allow',
    )
    cpu_percent: float
    """
    100 is one core. Live: of the last second; at the end: of the whole run.
    """
    device: str | None = None
    """
    Where the tensors are or were: `cpu`, or the card with its name. Absent until that is known.
    """
    duration_seconds: float
    """
    Seconds since the run began to be worked on.
    """
    gpu_memory_mb: float | None = None
    """
    MiB of the card, of a run on one. Live: now; at the end: the most there was.
    """
    gpu_power_w: float | None = None
    """
    Watts that the card takes, of a run on one. Live: now; at the end: on average.
    """
    gpu_temperature_c: float | None = None
    """
    Degrees Celsius of the card, of a run on one. Live: now; at the end: the most there was.
    """
    gpu_util: float
    """
    Percent of the card; 0 without one. Live: lately; at the end: on average.
    """
    memory_mb: float
    """
    MiB resident. Live: now; at the end: the most there was.
    """


class RunLimits(BaseModel):
    """
    What a run may use.
    """

    model_config = ConfigDict(
        extra='allow',
    )
    device: str
    """
    Where its tensors are to be: `auto`, `cpu`, `cuda` or `cuda:N`.
    """
    memory_mb: int
    """
    MiB of the process; of a run on a card, what its tensors may hold there.
    """
    tf32: bool
    """
    Whether a card may use TF32.
    """
    time_seconds: int
    """
    Seconds.
    """


class RunState(str, Enum):
    """
    Where a run is.
    """

    PENDING = 'PENDING'
    PREPARING = 'PREPARING'
    TRAINING = 'TRAINING'
    TRAINED = 'TRAINED'
    ERROR = 'ERROR'
    CANCELLED = 'CANCELLED'


class Schedule(BaseModel):
    """
    Trainings at their times.
    """

    model_config = ConfigDict(
        extra='allow',
    )
    created_at: AwareDatetime
    """
    When it was made.
    """
    cron: str
    """
    Minute, hour, day of the month, month, day of the week.
    """
    enabled: bool
    """
    Whether it is on.
    """
    id: int
    """
    Its number.
    """
    last_at: AwareDatetime | None = None
    """
    When it last did something.
    """
    last_error: str | None = None
    """
    Why the last time came to nothing.
    """
    last_run: str | None = None
    """
    The last training.
    """
    missed: str
    """
    What becomes of missed times: `skip` or `once`.
    """
    model_id: int
    """
    The model that is trained.
    """
    name: str
    """
    What its owner calls it.
    """
    next_at: AwareDatetime | None = None
    """
    The next time; null while it is off.
    """
    submission: dict[str, Any]
    """
    What is asked of each training.
    """
    time_zone: str
    """
    Whose clock that is.
    """
    updated_at: AwareDatetime
    """
    When it was last changed by somebody.
    """


class Scope(str, Enum):
    """
    What a token allows.
    """

    read = 'read'
    submit = 'submit'
    upload = 'upload'
    admin = 'admin'


class Series(BaseModel):
    """
    A figure that the plugin told, over time.
    """

    model_config = ConfigDict(
        extra='allow',
    )
    name: str
    """
    Such as `loss`.
    """
    points: list[list[float]]
    """
    The plugin's step, seconds since the run began to be worked on, the value.
    """


class Sink(BaseModel):
    """
    Where predictions are written, too: a super table of TDengine, made when it is missing, with a table for each run and
    device. Its columns are `ts` and those of the prediction, its tags `run_id`, `model_id` and `device_id`. Rows of the
    same run, device and time are written over.
    """

    model_config = ConfigDict(
        extra='allow',
    )
    database: str | None = None
    """
    The database, which must be there; the configured one when it is not said.
    """
    device_id: str | None = None
    """
    The device that the predictions are for; that of the data set, if it has one alone, when it is not said.
    """
    table: str
    """
    The super table.
    """


class SourceKind(str, Enum):
    """
    Where rows come from.
    """

    upload = 'upload'
    file = 'file'
    tdengine = 'tdengine'


class Submitted(BaseModel):
    """
    What a submit gives.
    """

    model_config = ConfigDict(
        extra='allow',
    )
    created_at: AwareDatetime
    """
    When it was submitted.
    """
    limits: RunLimits
    """
    What it may use.
    """
    model_id: int
    """
    The model that is trained.
    """
    plugin: str
    """
    The plugin's name.
    """
    plugin_version: str
    """
    The plugin's version.
    """
    seed: int
    """
    What every random number follows from.
    """
    status: RunState
    """
    PENDING.
    """
    task_id: str
    """
    The run's name.
    """
    training_parameters: dict[str, Any]
    """
    All parameters, defaults filled in.
    """


class Sweep(BaseModel):
    """
    A sweep.
    """

    model_config = ConfigDict(
        extra='allow',
    )
    adopt: bool
    """
    Whether the model gets the best trial's result at the end.
    """
    asha: Asha | None = None
    best_run: str | None = None
    """
    The best trial, when it is over and there is one.
    """
    created_at: AwareDatetime
    """
    When it was made.
    """
    ended: int
    """
    Those that are over.
    """
    finished_at: AwareDatetime | None = None
    """
    When it ended.
    """
    goal: str
    """
    `minimize` or `maximize`.
    """
    id: int
    """
    Its number.
    """
    method: str
    """
    `grid`, `random` or `asha`.
    """
    metric: str
    """
    What trials are judged by.
    """
    model_id: int
    """
    The model whose parameters are tried.
    """
    note: str | None = None
    """
    What became of the best, or why there is none.
    """
    otherwise: Figure | None = None
    seed: int
    """
    What random choices follow from.
    """
    space: dict[str, Any]
    """
    By parameter: a list of values, or a range.
    """
    state: str
    """
    RUNNING, STOPPING, FINISHED or STOPPED.
    """
    trials: int
    """
    Its trials.
    """


class Task(str, Enum):
    """
    What is to be learned.
    """

    forecasting = 'forecasting'
    regression = 'regression'
    classification = 'classification'


class Ticket(BaseModel):
    """
    A ticket.
    """

    model_config = ConfigDict(
        extra='allow',
    )
    expires_in: int
    """
    Seconds for which it is good.
    """
    ticket: str
    """
    What to put in a URL as `?ticket=…`, once.
    """


class Token(BaseModel):
    """
    A token, without its secret.
    """

    model_config = ConfigDict(
        extra='allow',
    )
    created_at: AwareDatetime
    """
    When it was made.
    """
    expires_at: AwareDatetime | None = None
    """
    When it ends; null: never.
    """
    id: int
    """
    Its number.
    """
    name: str
    """
    What it is for.
    """
    revoked_at: AwareDatetime | None = None
    """
    When it was revoked.
    """
    scopes: list[Scope]
    """
    What it allows.
    """


class Trial(BaseModel):
    """
    A trial: a run of a sweep.
    """

    model_config = ConfigDict(
        extra='allow',
    )
    error_log: str | None = None
    """
    Why it failed.
    """
    finished_at: AwareDatetime | None = None
    """
    When it ended.
    """
    metrics: dict[str, Any]
    """
    Figures of its result.
    """
    parameters: dict[str, Any]
    """
    The parameters that the sweep varies.
    """
    progress: float
    """
    0 to 100.
    """
    run_id: str
    """
    The run's name.
    """
    started_at: AwareDatetime | None = None
    """
    When a worker first took it.
    """
    state: RunState
    """
    Where it is.
    """
    steps: int | None = None
    """
    The last step at which the plugin told that figure.
    """
    stop_requested: bool
    """
    Whether it was ended early, by the sweep or with it.
    """
    value: float | None = None
    """
    The best value so far of the figure that the sweep judges by.
    """
    worker: str | None = None
    """
    The worker that has it or had it last.
    """


class Trials(BaseModel):
    """
    The trials of a sweep.
    """

    model_config = ConfigDict(
        extra='allow',
    )
    goal: str
    """
    `minimize` or `maximize`.
    """
    items: list[Trial]
    """
    In the order in which they were drawn.
    """
    metric: str
    """
    What each one's value is of.
    """


class Worker(BaseModel):
    """
    A worker.
    """

    model_config = ConfigDict(
        extra='allow',
    )
    alive: bool
    """
    Whether it has been heard of in the last 15 seconds.
    """
    cards: list[Card]
    """
    Its cards, whether they work or not.
    """
    cores: int
    """
    The machine's cores.
    """
    draining: bool
    """
    It takes no more jobs and ends when those it has are done.
    """
    host: str
    """
    Its machine.
    """
    labels: list[str]
    """
    What it has, for jobs that ask for it.
    """
    load: list[float]
    """
    The machine's load over 1, 5 and 15 minutes.
    """
    memory_free_mb: int
    """
    MiB of the machine's memory that could still be used.
    """
    name: str
    """
    Its name.
    """
    pid: int
    """
    Its process there.
    """
    queues: list[str]
    """
    The queues that it serves.
    """
    running: list[str]
    """
    The jobs that it does now.
    """
    seen_at: AwareDatetime
    """
    When it last said something.
    """
    slots: int
    """
    Jobs that it does at once.
    """
    started_at: AwareDatetime
    """
    When it started.
    """
    version: str
    """
    The version of Trainyard.
    """


class AllSeries(BaseModel):
    """
    The series of a run.
    """

    model_config = ConfigDict(
        extra='allow',
    )
    items: list[Series]
    """
    By name.
    """
    run_id: str
    """
    The run.
    """


class AttemptResult(BaseModel):
    """
    What came of it.
    """

    model_config = ConfigDict(
        extra='allow',
    )
    log: list[Any]
    """
    The first 1000 lines of its log: timestamp, level, message.
    """
    metrics: dict[str, Any]
    """
    Figures on the test rows, by name.
    """
    seconds: float
    """
    Seconds that it took.
    """
    series: list[Series]
    """
    The figures that the plugin told, over time: the first 2000 points of each.
    """
    warnings: list[str]
    """
    What may be wrong with the data.
    """


class Checked(BaseModel):
    """
    What a file would be as a plugin.
    """

    model_config = ConfigDict(
        extra='allow',
    )
    inspection: dict[str, Any]
    """
    Everything that was found, as `trainyard plugin inspect --json` prints it.
    """
    known: str | None = None
    """
    Whether it is stored already: `same`, this very file; `other`, another file with this name and version.
    """
    plugin: PluginVersion
    """
    What would be stored.
    """


class CreatedToken(BaseModel):
    """
    A new token, with the secret that is shown this once.
    """

    model_config = ConfigDict(
        extra='allow',
    )
    secret: str
    """
    What to send as `Authorization: Bearer …`. It cannot be read again.
    """
    token: Token
    """
    The token as it is listed.
    """


class DataReport(BaseModel):
    """
    What a table turned out to be.
    """

    model_config = ConfigDict(
        extra='allow',
    )
    columns: list[ColumnReport]
    """
    Its columns: the time first.
    """
    counted: int | None = None
    """
    Rows that the source has, where not all were read.
    """
    devices: DevicesReport | None = None
    """
    The devices, where a column tells them apart.
    """
    gaps: GapReport | None = None
    """
    Where rows are missing in time; absent without a time column, or where rows are not in its order.
    """
    head: list[list[Any]]
    """
    The first rows, in the order of the columns.
    """
    rows: int
    """
    Its rows, as far as they were read.
    """
    time: list[str] | None = None
    """
    First and last time, where there is a time column.
    """
    warnings: list[str]
    """
    What may be wrong.
    """


class NewTokenBody(BaseModel):
    """
    What a token is to allow.
    """

    model_config = ConfigDict(
        extra='allow',
    )
    expires_at: AwareDatetime | None = None
    """
    When it ends; absent: never.
    """
    name: str
    """
    What it is for; it stands in the audit log.
    """
    scopes: list[Scope]
    """
    What it allows. Every scope allows to look; `admin` is everything.
    """


class StoredDataset(BaseModel):
    """
    An uploaded table.
    """

    model_config = ConfigDict(
        extra='allow',
    )
    created_at: AwareDatetime
    """
    When it was uploaded.
    """
    digest: str
    """
    SHA-256 of the content, in hexadecimal.
    """
    format: str
    """
    How it is written: csv, tsv, parquet, arrow or json.
    """
    id: str
    """
    A random UUID.
    """
    name: str
    """
    What its owner calls it.
    """
    report: DataReport
    """
    What was found at the upload.
    """
    rows: int
    """
    Rows.
    """
    size: int
    """
    Bytes.
    """


class TrainingDataset(BaseModel):
    """
    What a training learns from: where rows come from, and how they become a data set. Which fields there are depends on
    `source`: `dataset_id` is of `upload`, `path` of `file`, and those from `database` to `refresh` are of `tdengine`; all
    others every source has. A field that the source does not have is refused.

    `tdengine` reads rows of devices from the TDengine server that the operator has configured. Rows are those with
    `start_time <= time < end_time`: the end itself is not read. A time is written as
    - RFC 3339, `2024-05-01T08:00:00+08:00`;
    - `2024-05-01 08:00:00` or `2024-05-01`, in `time_zone`;
    - a number of seconds, milliseconds, microseconds or nanoseconds since 1970, which of them by its size: seconds below
      100 000 000 000, then a thousand times as much each;
    - `now`, or so long before it: `-90s`, `-15m`, `-12h`, `-30d`, `-8w`, `-6M` (months), `-2y`.

    Names of databases, tables, columns and tags are letters, digits and underscores, do not begin with a digit, and must
    be there. A request is never read as SQL.
    """

    model_config = ConfigDict(
        extra='allow',
    )
    aggregate: Aggregate | dict[str, Aggregate] | None = None
    columns: list[str] | None = None
    """
    What to learn from; all columns of numbers when it is not said (of the table `device_data`, `value`).
    """
    database: str | None = None
    """
    tdengine: the database; the configured one when it is not said.
    """
    dataset_id: str | None = None
    """
    upload: the id that the upload gave.
    """
    device_column: str | None = None
    """
    The column, or tag of TDengine's, that tells devices apart. Of `tdengine`, `device_id`, or where there is none the
    tables of a super table, when it is not said; of other sources, all rows are of one device.
    """
    device_id: list[str | float | bool] | str | float | bool | None = None
    end_time: str | int | None = None
    fill: Fill1 | Fill2 | Fill3 | Fill4 | Fill5 = Field('none', validate_default=True)
    """
    tdengine: what stands in windows without rows: `none`, they are left out; `null`, a missing value; `previous`, the
    value before; `linear`, between the neighbours; `{"value": 0}`, a number. Needs an `interval`.
    """
    horizon: int | None = None
    """
    Rows that a forecast looks ahead; goes with `lookback`. Of `tdengine`, 24 when neither is said.
    """
    interval: str | None = None
    """
    tdengine: the width of windows of time that the database makes one row of each: a number and a unit (ns, us, ms, s,
    m, h, d, w, M for months, y). All rows as they are when it is not said.
    """
    limit: int | None = None
    """
    tdengine: at most so many rows of each device, the earliest ones.
    """
    lookback: int | None = None
    """
    Rows that a forecast looks back on; goes with `horizon`. Of `tdengine`, 96 when neither is said.
    """
    path: str | None = None
    """
    file: below a folder that the worker's operator allows.
    """
    preprocess: Preprocess | None = None
    """
    What happens to rows before training.
    """
    refresh: bool = False
    """
    tdengine: reads all rows again, even if they were fetched before. Without it, rows that were overwritten in place
    since then may not be noticed.
    """
    source: SourceKind | None = None
    """
    Where rows come from: `upload`, a data set that was uploaded; `file`, a file on the worker's machine; `tdengine`,
    a database. May be left out where there is a `device_id`: it is `tdengine` then, as in the original.
    """
    split: str | None = None
    """
    Training/validation/test in order of time, as fractions or rows; of each device on its own.
    """
    start_time: str | int | None = None
    table: str = 'device_data'
    """
    tdengine: a super table, or a table; `device_data` when it is not said.
    """
    tags: dict[str, list[str | float | bool] | str | float | bool] | None = None
    """
    tdengine: values that tags or columns must have, by name: one, or a list of which any will do.
    """
    target: str | list[str] | None = None
    """
    What to predict: a column or several.
    """
    task: Task | None = None
    time: str | None = None
    """
    The time column; found by its name when it is not said. TDengine knows it.
    """
    time_zone: str = 'Asia/Shanghai'
    """
    tdengine: the zone of times without an offset, and of windows of days and longer, by its name in the IANA data base.
    """


class AttemptBody(BaseModel):
    """
    What to try, and on what.
    """

    model_config = ConfigDict(
        extra='allow',
    )
    rows: str | None = None
    """
    Rows to learn from, as CSV with a line of names; where they are absent, those of the data set's source.
    """
    seed: int | None = None
    """
    What every random number follows from; 0 when it is not said.
    """
    source: str
    """
    The plugin: a file of Python source.
    """
    training_dataset: TrainingDataset
    """
    What is learned, and from what. Needs no source where there are `rows`.
    """
    training_parameters: dict[str, Any] | None = None
    """
    Parameters; those that are absent have their defaults.
    """


class EvaluateBody(BaseModel):
    """
    What to judge on.
    """

    model_config = ConfigDict(
        extra='allow',
    )
    dataset: TrainingDataset | None = None
    run: str | None = None
    """
    A run that is TRAINED; the model's newest when it is absent.
    """


class Model(BaseModel):
    """
    A model.
    """

    model_config = ConfigDict(
        extra='allow',
    )
    created_at: AwareDatetime
    """
    When it was made.
    """
    description: str
    """
    Free text.
    """
    error_log: str | None = None
    """
    Why the last run failed.
    """
    file_path: str | None = None
    """
    Where the result lies in the artifacts.
    """
    finished_at: AwareDatetime | None = None
    """
    When the last run ended.
    """
    id: int
    """
    Its number.
    """
    metrics: dict[str, Any]
    """
    Figures on the test rows.
    """
    name: str
    """
    What its owner calls it.
    """
    plugin: str
    """
    The plugin's name.
    """
    plugin_version: str | None = None
    """
    The plugin's version; null: the newest at each submit.
    """
    progress: float
    """
    0 to 100.
    """
    resource_usage: ResourceUsage | None = None
    started_at: AwareDatetime | None = None
    """
    When the current or last run began to be worked on.
    """
    status: ModelStatus
    """
    Where it is.
    """
    task_id: str | None = None
    """
    The current or last run.
    """
    trained_run: str | None = None
    """
    The run whose result the model predicts with.
    """
    training_dataset: TrainingDataset | None = None
    training_parameters: dict[str, Any]
    """
    What a training begins with.
    """
    updated_at: AwareDatetime
    """
    When anything of it changed.
    """


class ModelPatchBody(BaseModel):
    """
    What is to change; what is absent stays.
    """

    model_config = ConfigDict(
        extra='allow',
    )
    description: str | None = None
    """
    Another text; null: none.
    """
    name: str | None = None
    """
    Another name.
    """
    plugin: str | None = None
    """
    Another plugin.
    """
    plugin_version: str | None = None
    """
    Another version; null: the newest at each submit.
    """
    training_dataset: TrainingDataset | None = None
    training_parameters: dict[str, Any] | None = None
    """
    Other parameters, in place of all that were there; null: none.
    """


class NewModelBody(BaseModel):
    """
    What a new model is to be.
    """

    model_config = ConfigDict(
        extra='allow',
    )
    description: str | None = None
    """
    Free text.
    """
    name: str
    """
    What its owner calls it.
    """
    plugin: str
    """
    The plugin's name.
    """
    plugin_version: str | None = None
    """
    A version of the plugin; absent: the newest at each submit.
    """
    training_dataset: TrainingDataset | None = None
    training_parameters: dict[str, Any] | None = None
    """
    Parameters that a training begins with; those of the submit go over them.
    """


class PredictBody(BaseModel):
    """
    A body that says more than rows.
    """

    model_config = ConfigDict(
        extra='allow',
    )
    dataset: TrainingDataset = None
    """
    Where rows come from, in the form of `training_dataset`: all else in it is the model's own already.
    """
    rows: list[dict[str, Any]] = None
    """
    The rows; or else there is a `dataset`.
    """
    score: bool = False
    """
    Adds a column `anomaly_score` to forecasts of the past: how far the values that came are from those that were
    predicted, in standard deviations of the training rows. Needs `rolling`, which a `dataset` is then without saying so.
    """
    sink: Sink | None = None


class PredictForm(RootModel[list[dict[str, Any]] | PredictBody]):
    root: list[dict[str, Any]] | PredictBody
    """
    Either form of what to predict for.
    """


class PreviewBody(BaseModel):
    """
    What to look at.
    """

    model_config = ConfigDict(
        extra='allow',
    )
    dataset: TrainingDataset
    """
    A data set, in the form of `training_dataset`.
    """


class Run(BaseModel):
    """
    One training of a model.
    """

    model_config = ConfigDict(
        extra='allow',
    )
    attempt: int
    """
    Times that a worker took it.
    """
    checkpoint: str | None = None
    """
    Where its last checkpoint lies in the artifacts.
    """
    created_at: AwareDatetime
    """
    When it was submitted.
    """
    error_log: str | None = None
    """
    Why it failed.
    """
    file_path: str | None = None
    """
    Where its result lies in the artifacts.
    """
    finished_at: AwareDatetime | None = None
    """
    When it ended.
    """
    id: str
    """
    Its name; the model's `task_id`.
    """
    labels: list[str]
    """
    What a worker has to have to take it.
    """
    limits: RunLimits
    """
    What it may use.
    """
    lineage: dict[str, Any] | None = None
    """
    What data it was trained on: source, hash, rows, columns; null until it is known.
    """
    metrics: dict[str, Any]
    """
    Figures on the test rows.
    """
    model_id: int
    """
    The model that is trained.
    """
    plugin: str
    """
    The plugin's name.
    """
    plugin_digest: str
    """
    SHA-256 of the plugin's file.
    """
    plugin_version: str
    """
    The plugin's version.
    """
    progress: float
    """
    0 to 100.
    """
    resource_usage: ResourceUsage | None = None
    seed: int
    """
    What every random number follows from.
    """
    started_at: AwareDatetime | None = None
    """
    When a worker first took it.
    """
    state: RunState
    """
    Where it is.
    """
    stop_requested: bool
    """
    Whether someone wants it to stop.
    """
    sweep_id: int | None = None
    """
    The sweep whose trial it is, if it is one.
    """
    training_dataset: TrainingDataset
    """
    What it learns from.
    """
    training_parameters: dict[str, Any]
    """
    All parameters, defaults filled in.
    """
    worker: str | None = None
    """
    The worker that has it, or had it last.
    """


class TrainBody(BaseModel):
    """
    What to train with. Everything that is absent comes from the model, then from the plugin's and the server's defaults.
    """

    model_config = ConfigDict(
        extra='allow',
    )
    device: str | None = None
    """
    Where the tensors are to be: `auto` (a card where the worker has one that works, else the processor; as when nothing is
    said), `cpu`, `cuda` or `cuda:N`. With `cuda` the run goes to a worker with the label `gpu`, unless it has labels of its own.
    `training_parameters` may say it as well, if the plugin has no parameter of that name; what is said here counts.
    """
    labels: list[str] | None = None
    """
    What a worker has to have to take the run, such as `gpu`: see `GET /workers`.
    """
    memory_limit_mb: int | None = None
    """
    MiB that the run may use; the server has a largest and a usual value.
    """
    seed: int | None = None
    """
    What every random number follows from; a new one each time when it is not said.
    """
    tf32: bool | None = None
    """
    Whether a card may multiply matrices of f32 with the shorter mantissa of TF32: faster, and less exact. Not when it is not said.
    """
    time_limit: int | None = None
    """
    Seconds after which the run is ended; the server has a largest and usual value.
    """
    training_dataset: TrainingDataset | None = None
    training_parameters: dict[str, Any] | None = None
    """
    Parameters of the plugin; they go over the model's own.
    """


class NewScheduleBody(BaseModel):
    """
    What a new schedule is to be.
    """

    model_config = ConfigDict(
        extra='allow',
    )
    cron: str
    """
    Minute, hour, day of the month, month, day of the week.
    """
    enabled: bool | None = None
    """
    Whether it is on; it is when nothing is said.
    """
    missed: str | None = None
    """
    What becomes of times at which no server was there: `skip` (nothing, as when nothing is said) or `once` (one training).
    """
    model_id: int
    """
    The model that is trained.
    """
    name: str
    """
    What its owner calls it.
    """
    submission: TrainBody | None = None
    time_zone: str | None = None
    """
    Whose clock that is: a name of the IANA database; UTC when it is not said.
    """


class Report(BaseModel):
    """
    Everything about a run.
    """

    model_config = ConfigDict(
        extra='allow',
    )
    log: list[Any]
    """
    The last lines of the log, of a run that failed.
    """
    metrics: list[dict[str, Any]]
    """
    Figures on the test rows, with what the plugin says of them: name, value, summary, maximize.
    """
    model: Model
    """
    The model.
    """
    parameters: list[dict[str, Any]]
    """
    Parameters, with what the plugin says of them: name, value, default, description.
    """
    run: Run
    """
    The run.
    """
    series: list[Any]
    """
    The figures over time, in short: name, points, first, last, min, max.
    """
    waited_seconds: float | None = None
    """
    Seconds that it waited for a worker; null while it waits.
    """
    worked_seconds: float | None = None
    """
    Seconds that it was worked on so far; null while it waits.
    """


class SchedulePatchBody(BaseModel):
    """
    What is to change; what is absent stays.
    """

    model_config = ConfigDict(
        extra='allow',
    )
    cron: str | None = None
    """
    Another time.
    """
    enabled: bool | None = None
    """
    On or off.
    """
    missed: str | None = None
    """
    Another policy.
    """
    name: str | None = None
    """
    Another name.
    """
    submission: TrainBody | None = None
    time_zone: str | None = None
    """
    Another clock.
    """


class SweepBody(BaseModel):
    """
    What a new sweep is to be.
    """

    model_config = ConfigDict(
        extra='allow',
    )
    adopt: bool | None = None
    """
    Whether the model gets the best trial's result at the end; it does when nothing is said.
    """
    asha: dict[str, Any] | None = None
    """
    With the method `asha`: no trial is judged before `min_steps` of the plugin's steps, and of `reduction` trials one goes on.
    """
    goal: str | None = None
    """
    `minimize` or `maximize`; as the plugin says of the figure, or else minimize, when nothing is said.
    """
    method: str | None = None
    """
    `grid` (every combination), `random`, or `asha` (random, and what is not among the best is ended early); random when
    nothing is said.
    """
    metric: str | None = None
    """
    What trials are judged by: a figure that the plugin tells while it trains, or one of its result. `validation_loss` when
    nothing is said, or the first figure of the results of a plugin that tells none.
    """
    seed: int | None = None
    """
    What random choices follow from; a new one each time when it is not said.
    """
    space: dict[str, Any]
    """
    By parameter of the plugin: a list of values, or a range `{"min": 0.001, "max": 0.1, "log": true}`; in a grid a range
    has `points`, too.
    """
    submission: TrainBody | None = None
    trials: int | None = None
    """
    How many trials; not for a grid.
    """
