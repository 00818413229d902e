"""How long a run is said to take: held to what the published runs took, and to what is recorded."""

from pathlib import Path

import pytest
import record_builders as build

from bench import guess, records
from bench.config import Experiment, Training
from bench.estimate import Estimates, Forecast, side_by_side_s
from bench.folder import SNAPSHOT
from bench.outcomes import Fitted, NotDone
from bench.plugins import DATASETS
from bench.records import Record
from bench.study_config import LookupModel, LookupTraining, StudyProtocol
from bench.study_jobs import lookup_job
from bench.work import FitJob

PUBLISHED = Path(__file__).parent.parent / "results" / "reference"
EXPERIMENTS = sorted(path.parent for path in PUBLISHED.glob(f"*/{SNAPSHOT}"))


def ran(folder: Path) -> list[Record]:
    """Without what was not tried."""
    found = records.latest(records.read(folder)).values()
    return [record for record in found if not isinstance(record.outcome, NotDone) or record.outcome.status == "timeout"]


@pytest.mark.parametrize("folder", EXPERIMENTS, ids=lambda folder: folder.name)
def test_published_experiments_took_as_long_as_is_said_of_the_guess(folder):
    found = ran(folder)
    took_s, guessed_s = sum(record.seconds for record in found), sum(guess.job_s(record.job) for record in found)
    assert 1 / guess.GOOD_TO <= took_s / guessed_s <= guess.GOOD_TO


def test_there_are_published_experiments():
    assert len(EXPERIMENTS) >= 4


def test_no_published_training_went_on_for_longer_than_was_expected_and_few_for_much_shorter():
    fits = [record for folder in PUBLISHED.iterdir() for record in ran(folder) if isinstance(record.outcome, Fitted)]
    shares = [record.outcome.epochs / guess.most_epochs(record.job.training) for record in fits]
    assert min(shares) >= 0.4
    assert sum(share == 1 for share in shares) > len(shares) / 2
    assert max(shares) <= 1
    assert sum(shares) / len(shares) > 0.8


@pytest.mark.parametrize(
    ("training", "epochs"),
    [
        ({"max_epochs": 1000, "patience_epochs": 1000}, 1000),
        ({"max_epochs": 1000, "patience_epochs": 50, "stop_on": "never"}, 1000),
        ({"max_epochs": 200, "patience_epochs": 100}, 200),
        ({"max_epochs": 100_000, "patience_epochs": 100}, 100 * guess.OUTLASTED),
        ({"max_epochs": 100_000, "patience_epochs": 100, "min_epochs": 5000}, 5000),
    ],
)
def test_all_epochs_are_counted_on_unless_patience_is_much_shorter(training, epochs):
    assert guess.most_epochs(Training(**training)) == epochs


def with_batches(dataset: str = "powerlaw", **batches: object) -> FitJob:
    asked = {"batches": batches or None, "max_epochs": 1}
    return build.fit_job(build.key(dataset=dataset), 0, training=Training.model_validate(asked))


def test_a_step_on_a_part_of_a_graph_is_guessed_cheaper_than_one_on_all_of_it_and_never_dearer():
    whole_s = guess.job_s(with_batches())
    neighbours = {"by": "neighbours", "targets": 100, "steps": 1}
    assert guess.job_s(with_batches(**neighbours, fanout=[5, 5])) < whole_s
    assert guess.job_s(with_batches(**neighbours, fanout=[10**6, 10**6])) == whole_s
    walks = {"by": "random walks", "roots": 50, "length": 2}
    assert guess.job_s(with_batches(**walks, steps=1)) < whole_s
    assert guess.job_s(with_batches(**walks, steps=20)) > guess.job_s(with_batches(**walks, steps=2))


@pytest.mark.parametrize("name", DATASETS.names())
def test_how_large_a_data_set_is_can_be_told_before_it_is_here(name):
    nodes, edges = DATASETS.get(name).info.size
    assert 0 < nodes < edges


def test_a_data_set_whose_size_is_not_known_before_it_is_read_is_guessed_as_it_is_published():
    assert guess.job_s(with_batches("qm9")) > guess.job_s(with_batches("ppi")) > guess.job_s(with_batches("pubmed"))
    epoch, step = ({"by": "links", "links": 2**16, "steps": steps} for steps in (None, 1))
    assert guess.job_s(with_batches("ogbl_collab", **epoch)) > 10 * guess.job_s(with_batches("ogbl_collab", **step))


def test_a_slow_step_is_timed_for_longer_than_a_phase_is_allowed():
    job = build.speed_job(build.key(dataset="powerlaw_mapped"), 0)
    allowed_s = guess.START_S + 2 * len(job.timing.tracks) * job.timing.max_phase_s
    assert guess.job_s(job) > allowed_s


def experiment(**changes: object) -> Experiment:
    return build.experiment(backends=("dense", "pyg"), operators=("gat",), **changes)


def test_what_another_number_of_epochs_took_counts_in_proportion():
    short = build.fit(build.key(), 0, 0.8, training=Training(max_epochs=100))
    long = build.fit_job(build.key(), 0, training=Training(max_epochs=1000))
    told = Estimates(experiment(), [short.model_copy(update={"seconds": guess.job_s(short.job) / 5})])
    assert told.job_s(long) == pytest.approx(guess.job_s(long) / 5)
    assert told.are_told([long])


def test_a_cell_that_was_timed_tells_what_its_fits_take():
    timed = build.speed(build.key(), 0, {"same_input": 0.4})
    told = Estimates(experiment(seeds=(0, 1)), [timed])
    epoch_s = 0.4 + 0.1  # with an evaluation
    job = build.fit_job(build.key(), 0)
    assert told.job_s(job) == pytest.approx(epoch_s * job.training.max_epochs)
    assert not told.are_told([build.fit_job(build.key("dense"), 0)])


def test_fits_that_the_budget_will_not_allow_take_no_time():
    told = Estimates(experiment(), [build.speed(build.key("dense"), 0, {"as_shipped": 10.0})])
    assert told.job_s(build.fit_job(build.key("dense"), 0)) == 0


def test_a_cell_that_the_budget_refused_says_nothing_of_how_long_it_takes():
    refused = build.not_done(build.fit_job(build.key(), 0), "budget", "would take 2 h").model_copy(
        update={"seconds": 0.0}
    )
    job = build.fit_job(build.key(), 1)
    assert Estimates(experiment(), [refused]).job_s(job) == guess.job_s(job) > 0


def test_no_job_is_expected_to_outlast_the_limit_that_kills_it():
    asked = experiment(budget={"job_s": 7.0})
    assert Estimates(asked, []).job_s(build.fit_job(build.key(dataset="pubmed"), 0)) == 7.0


def test_one_long_job_takes_as_long_beside_idle_cores():
    assert side_by_side_s([10.0, 1.0], parallel=8) == 10.0
    assert side_by_side_s([1.0] * 16, parallel=8) == 2.0
    assert side_by_side_s([], parallel=8) == 0


def test_what_is_recorded_is_not_to_be_done():
    asked = experiment(seeds=(0,), timing={"rounds": 0})
    forecast, estimates = Forecast.of(asked), Estimates(asked, [])
    all_s = forecast.left_s(estimates, lambda id_: False, parallel=1)
    fits = {job.id for job in forecast.phases["fit"]}
    assert 0 < forecast.left_s(estimates, fits.__contains__, parallel=1) < all_s
    assert forecast.left_s(estimates, lambda id_: True, parallel=1) == 0


def test_what_a_back_end_took_elsewhere_tells_more_than_what_another_took_here():
    asked = experiment(datasets=("cora", "pubmed"))
    job = build.fit_job(build.key("pyg", dataset="pubmed"), 0)
    here, elsewhere = (build.fit(build.key(*place), 0, 0.8) for place in (("dense", "gat", "pubmed"), ("pyg",)))
    paced = [
        record.model_copy(update={"seconds": pace * guess.job_s(record.job)})
        for record, pace in ((here, 50), (elsewhere, 2))
    ]
    assert Estimates(asked, paced).job_s(job) == pytest.approx(2 * guess.job_s(job))


def test_a_lookup_is_guessed_longer_with_more_keys_and_with_more_steps():
    def guessed_s(size: int, **training: object) -> float:
        model = LookupModel(name="m", operator="gat")
        protocol = StudyProtocol(name="p")
        return guess.job_s(lookup_job(model, size, protocol, LookupTraining(**training), "cpu", seed=0))

    assert guessed_s(4, max_steps=100) < guessed_s(20, max_steps=100) < guessed_s(20, max_steps=1000)
    assert guessed_s(20, max_steps=100) < guessed_s(20)  # as many epochs as were published
