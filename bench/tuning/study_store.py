"""The Optuna store of a results folder: opened by many, mended by the run that holds the folder.

What a finished study found is on record, so a store that was lost is made again from the records. A study that was not
finished begins anew and, its sampler being seeded, proposes what it proposed before.
"""

import hashlib
import sqlite3
import tempfile
import warnings
from collections.abc import Iterable, Iterator, Sequence
from contextlib import closing, contextmanager, suppress
from pathlib import Path
from typing import TYPE_CHECKING, Literal

from filelock import FileLock

from bench import sqlite_file
from bench.config import Choice, FloatRange
from bench.errors import UserError, naming
from bench.folder import sweep
from bench.outcomes import Trial, Tuned
from bench.records import Record
from bench.work import TuneJob, digest

if TYPE_CHECKING:
    import optuna

NAME = "optuna.db"
TABLES = "tables"  # what two processes must not create at the same time: they break each other's migration
MENDING = "mending"  # what two runs must not do at the same time: each knows its own folder's studies alone
HEARTBEAT_S = 30
# Within a minute the server notices that a machine is gone which holds something.
KEEPALIVES = {"tcp_keepalives_idle": 30, "tcp_keepalives_interval": 10, "tcp_keepalives_count": 3}
BUSY_S = 60  # how long to wait for whoever is writing to the file
DIRECTION: Literal["maximize"] = "maximize"


def default_url(folder: Path) -> str:
    """The storage URL of an experiment's folder."""
    return sqlite_file.url(folder.absolute() / NAME)


@contextmanager
def opened(url: str) -> Iterator["optuna.storages.RDBStorage"]:
    """Any Optuna storage URL, with heartbeats; its tables are made if need be. Its connections end with the block."""
    storage = _open(url)
    try:
        yield storage
    finally:
        storage.remove_session()
        storage.engine.dispose()


def _open(url: str) -> "optuna.storages.RDBStorage":
    import optuna

    path = sqlite_file.path_of(url)
    with holding(url, TABLES), _naming_version(url), warnings.catch_warnings():
        warnings.simplefilter("ignore", optuna.exceptions.ExperimentalWarning)
        return optuna.storages.RDBStorage(
            url,
            engine_kwargs={"connect_args": {"timeout": BUSY_S}} if path else None,
            heartbeat_interval=HEARTBEAT_S,
            grace_period=4 * HEARTBEAT_S,
            heartbeat_stale_trial_callback=optuna.storages.RetryHeartbeatStaleTrialCallback(max_retry=3),
        )


@contextmanager
def holding(url: str, what: str) -> Iterator[None]:
    """Hold something in a store against all others who use it; wait for whoever holds it.

    The lock is one of a connection to PostgreSQL, or of a file beside the store's, so that whoever dies lets go.

    Raises:
        UserError: it is a store of another kind, which has no such lock.
    """
    path = sqlite_file.path_of(url)
    with FileLock(_lock_file(path, what)) if path else _held_by_connection(url, what):
        yield


def problem(url: str) -> str | None:
    """Why a database can be no store, or None; it need not answer."""
    from sqlalchemy import make_url

    found = make_url(url)
    if found.get_backend_name() == "postgresql" or (sqlite_file.path_of(url) and found.database):
        return None
    return "a study there cannot be held against other runs"


@contextmanager
def _held_by_connection(url: str, what: str) -> Iterator[None]:
    from sqlalchemy import create_engine, text
    from sqlalchemy.pool import NullPool

    if reason := problem(url):
        raise UserError(f"{sqlite_file.shown(url)}: {reason}")
    key = int.from_bytes(hashlib.sha256(f"gat-bench {what}".encode()).digest()[:8], signed=True)
    # Without a pool the connection ends with the block, and without a transaction nothing on the server waits for it.
    with create_engine(url, poolclass=NullPool, isolation_level="AUTOCOMMIT").connect() as connection:
        for setting, value in KEEPALIVES.items():
            connection.execute(text(f"SET {setting} = {value}"))
        connection.execute(text("SELECT pg_advisory_lock(:key)"), {"key": key})
        yield


class StudyStoreUnavailable(Exception):
    """The store could not be read or written; the text is one sentence."""

    cure = "the next `bench run` of that experiment mends it from the records"


class OtherTables(StudyStoreUnavailable):
    """Another version of Optuna made the store."""

    cure = "move it away, and the next `bench run` of that experiment makes it again from the records"


@contextmanager
def _naming_version(url: str) -> Iterator[None]:
    """Have an Optuna that opens a store with tables of another version name the store, and not how it noticed."""
    try:
        yield
    except (RuntimeError, AssertionError) as problem:
        reason = "another version of Optuna made its tables"
        raise OtherTables(f"the Optuna store {sqlite_file.shown(url)}: {reason}") from problem


@contextmanager
def naming_store(url: str) -> Iterator[None]:
    """Have what the database says name the store, without a page of SQL.

    Raises:
        StudyStoreUnavailable: it could not be read or written, as on a full disk.
    """
    from optuna.exceptions import StorageInternalError
    from sqlalchemy.exc import SQLAlchemyError

    try:
        yield
    except (StorageInternalError, SQLAlchemyError) as problem:
        cause = problem.__cause__ if isinstance(problem, StorageInternalError) else problem
        said = str(getattr(cause, "orig", cause)).partition("\n")[0]
        raise StudyStoreUnavailable(f"the Optuna store {sqlite_file.shown(url)}: {said}") from problem


def gathered(stores: Iterable[Path]) -> "optuna.storages.InMemoryStorage":
    """A copy of every study of these files, named after the folder that each comes from; the files are only read.

    Raises:
        StudyStoreUnavailable: one could not be read.
    """
    import optuna

    copy = optuna.storages.InMemoryStorage()
    for path in stores:
        url = sqlite_file.url(path)
        with naming_store(url), _naming_version(url):
            for name in optuna.get_all_study_names(url):
                shown_name = f"{path.parent.name} · {name}"
                optuna.copy_study(from_study_name=name, from_storage=url, to_storage=copy, to_study_name=shown_name)
    return copy


def mend(url: str, records: Iterable[Record]) -> list[str]:
    """Set a damaged store aside, and put back from the records what it lacks; what the user should see.

    Folders may share a store: each puts back what its own records have, one after the other, and takes nothing out.
    Stores that are no file are their server's to look after.

    Raises:
        UserError: the store cannot be examined, or made again.
    """
    path = sqlite_file.path_of(url)
    finished = {
        record.outcome.study: (record.job, record.outcome)
        for record in records
        if isinstance(record.job, TuneJob) and isinstance(record.outcome, Tuned)
    }
    if path is None or not (finished or path.exists()):
        return []
    path.parent.mkdir(parents=True, exist_ok=True)
    with holding(url, MENDING):
        notices, there = _examined(path)
        lacking = [study for name, study in finished.items() if name not in there]
        if lacking:
            notices.append(_put_back(path, lacking) if _is_there(path) else _made_again(path, lacking))
    return notices


def _examined(path: Path) -> tuple[list[str], set[str]]:
    """What the user should see of a store that was damaged, and the names of the studies that it has now."""
    notices = []
    try:
        if found := sqlite_file.damage(path, wait_s=BUSY_S):
            aside = sqlite_file.set_aside(path)
            notices.append(f"the Optuna store {path} was damaged ({found}): it is now called {aside.name}")
        return notices, _names(path)
    except sqlite3.DatabaseError as problem:
        raise UserError(f"the Optuna store {path} cannot be examined: {problem}; end what holds it") from None


def _names(path: Path) -> set[str]:
    """By Optuna this would take the second that its import takes, which no run should wait for that lacks nothing."""
    if not _is_there(path):
        return set()
    with closing(sqlite3.connect(path, timeout=BUSY_S)) as connection:
        tables = {name for (name,) in connection.execute("SELECT name FROM sqlite_master")}
        if "studies" not in tables:
            return set()
        return {name for (name,) in connection.execute("SELECT study_name FROM studies")}


def _is_there(path: Path) -> bool:
    return path.exists() and path.stat().st_size > 0


def _put_back(path: Path, lacking: Sequence[tuple[TuneJob, Tuned]]) -> str:
    """Into a store that others use, too: whatever is wrong with it, the records have what it lacks."""
    url = sqlite_file.url(path)
    try:
        with naming_store(url):
            _add(url, lacking)
    except StudyStoreUnavailable as problem:
        return f"{problem}; it lacks {len(lacking)} finished studies, which are on record"
    return f"{path} lacked {len(lacking)} finished studies, which are put back from the records"


def _made_again(path: Path, finished: Sequence[tuple[TuneJob, Tuned]]) -> str:
    try:
        with naming(path), naming_store(sqlite_file.url(path)):
            _rebuild(path, finished)
    except StudyStoreUnavailable as problem:
        raise UserError(f"{problem}; make room, or let --storage name another place") from None
    return f"{path} was made again from the records: {len(finished)} finished studies"


def _lock_file(path: Path, what: str) -> Path:
    """It stays when it is let go of: removed, it would be another file for whoever comes than for those who wait."""
    name = f".{path.name}.lock" if what == TABLES else f".{path.name}.{digest(what)}.lock"
    return path.with_name(name)


def _rebuild(path: Path, finished: Sequence[tuple[TuneJob, Tuned]]) -> None:
    """In a folder of its own until it is whole. Where somebody has made the store by then, theirs is added to."""
    scratch = f".{path.name}.unfinished-"
    sweep(path.parent, (), scratch)  # of processes that were killed here
    url = sqlite_file.url(path)
    with tempfile.TemporaryDirectory(dir=path.parent, prefix=scratch) as folder:
        unfinished = Path(folder) / path.name
        _add(sqlite_file.url(unfinished), finished)
        with holding(url, TABLES):
            if not _is_there(path):
                unfinished.replace(path)
                return
    _add(url, finished)


def _add(url: str, finished: Iterable[tuple[TuneJob, Tuned]]) -> None:
    import optuna

    optuna.logging.set_verbosity(optuna.logging.WARNING)
    with opened(url) as storage:
        for job, tuned in finished:
            with suppress(optuna.exceptions.DuplicatedStudyError):  # another run has begun it, and will finish it
                study = optuna.create_study(study_name=tuned.study, storage=storage, direction=DIRECTION)
                study.add_trials([_frozen(trial, job) for trial in tuned.trials])


def _frozen(trial: Trial, job: TuneJob) -> "optuna.trial.FrozenTrial":
    """A trial as the study had it; to Optuna, one that was cut short is complete, too."""
    import optuna

    return optuna.trial.create_trial(
        value=sum(trial.values.values()) / len(trial.values),
        params=trial.settings,
        distributions={name: _distribution(dimension) for name, dimension in job.space.items()},
        user_attrs={"values": {str(seed): value for seed, value in trial.values.items()}, "epochs": trial.epochs},
        intermediate_values=dict(trial.values),
    )


def _distribution(dimension: FloatRange | Choice) -> "optuna.distributions.BaseDistribution":
    import optuna

    if isinstance(dimension, Choice):
        return optuna.distributions.CategoricalDistribution(dimension.choices)
    return optuna.distributions.FloatDistribution(dimension.low, dimension.high, log=dimension.log)
