"""Grids with real child processes, for tests of what becomes of them."""

from contextlib import contextmanager
from pathlib import Path

from bench import records
from bench.config import Experiment
from bench.folder import ResultsFolder
from bench.options import Options
from bench.outcomes import Timed
from bench.progress import PlainDisplay
from bench.runner import Grid


class Notes:
    """A listener that remembers."""

    def __init__(self) -> None:
        self.ids: list[str] = []
        self.is_quiet = False

    def finished(self, record: records.Record) -> None:
        self.ids.append(record.id)
        if isinstance(record.outcome, Timed):
            assert self.is_quiet, "timing while the listener may be at work"

    @contextmanager
    def quiet(self):
        self.is_quiet = True
        yield
        self.is_quiet = False


class Silent(PlainDisplay):
    def say(self, text: str) -> None:
        pass


def changed(experiment: Experiment, **changes: object) -> Experiment:
    return Experiment.model_validate(experiment.model_dump() | changes)


def run(experiment: Experiment, tmp_path: Path, **options: object) -> tuple[int, list[records.Record], Notes]:
    folder, notes = ResultsFolder(tmp_path / "grid"), Notes()
    storage = f"sqlite:///{folder.path / 'optuna.db'}"
    folder.write_experiment(experiment)
    errors = Grid(experiment, folder, Silent(), notes, Options(storage_url=storage, **options)).run()
    return errors, folder.records(), notes


def outcome_of(found: list[records.Record], backend: str) -> object:
    return next(record.outcome for record in found if record.job.backend == backend)


def timed(experiment: Experiment, rounds: int = 1, self_test: str = "") -> Experiment:
    timing = experiment.timing.model_dump() | {"rounds": rounds, "self_test": self_test}
    return changed(experiment, timing=timing)
