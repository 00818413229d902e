"""`bench parity` takes what it checks from an experiment, or from the command line, and minds nothing else of it."""

import argparse

import pytest

from bench import experiment_file
from bench.commands import parity
from bench.config import Experiment
from bench.errors import UserError


def chosen(*words: str) -> Experiment:
    parser = argparse.ArgumentParser()
    parity.configure(parser)
    return parity._chosen(parser.parse_args(words))


def test_an_experiment_is_checked_with_its_own_network_and_data():
    asked, found = experiment_file.read(experiment_file.find("default")), chosen()
    assert (found.backends, found.datasets) == (asked.backends, asked.datasets)
    assert (found.architecture, found.protocol) == (asked.architecture, asked.protocol)


@pytest.mark.parametrize("experiment", ["default", "throughput", "scaling"])
def test_a_back_end_is_checked_whichever_others_are_timed_and_compared(experiment):
    assert chosen(experiment, "--backends", "scatter").backends == ("scatter",)


def test_other_data_are_checked_whatever_splits_they_have():
    assert chosen("default", "--datasets", "citeseer").datasets == ("citeseer",)


def test_what_there_is_not_is_still_refused():
    with pytest.raises(UserError, match=r"the command line: backends: .*did you mean 'pyg'"):
        chosen("default", "--backends", "pig")
