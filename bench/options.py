"""How to run, as opposed to what: the same for an experiment, a study and a paper's table."""

import argparse
import os
from dataclasses import dataclass

from bench.cli import positive, storage_url
from bench.folder import ResultsFolder
from bench.tuning import study_store


@dataclass(frozen=True)
class Options:
    """What a person may choose without changing any result."""

    parallel: int | None = None  # jobs at once per kind of device; None: one per slot
    storage_url: str = ""  # of Optuna studies
    cluster: str = ""  # address of a Dask scheduler; empty: this machine
    retry: bool = False  # look anew at what ended in out of memory, timeout or divergence
    retime: bool = False  # make all times again, side by side

    @classmethod
    def chosen(cls, arguments: argparse.Namespace, folder: ResultsFolder) -> "Options":
        """What the arguments of `add_options` say of a results folder."""
        return cls(
            parallel=arguments.jobs,
            storage_url=arguments.storage or study_store.default_url(folder.path),
            cluster=arguments.cluster,
            retry=arguments.retry,
            retime=getattr(arguments, "retime", False),  # a study and a paper's table time nothing
        )


def add_options(parser: argparse.ArgumentParser) -> None:
    """The arguments that `Options.chosen` reads."""
    parser.add_argument(
        "--jobs", type=positive, metavar="N", help="jobs at once (default: one per core); timing is always alone"
    )
    parser.add_argument(
        "--retry", action="store_true", help="also repeat what ended in out of memory, timeout or divergence"
    )
    parser.add_argument(
        "--storage",
        type=storage_url,
        default=os.environ.get("BENCH_STORAGE") or None,
        metavar="URL",
        help="Optuna storage, as postgresql://user@host/name (default: BENCH_STORAGE, or optuna.db in the folder)",
    )
    parser.add_argument(
        "--cluster",
        default=os.environ.get("BENCH_CLUSTER", ""),
        metavar="ADDRESS",
        help="Dask scheduler whose workers run the jobs, as tcp://host:8786 (default: BENCH_CLUSTER, or this machine)",
    )
