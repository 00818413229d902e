"""Optuna's dashboard over all studies of a results folder, on 127.0.0.1.

What it shows is a copy in memory: whatever is renamed or deleted there, the studies in the folders stay as they are.
"""

import importlib.util
import warnings
from contextlib import suppress
from pathlib import Path
from threading import Thread
from wsgiref.simple_server import make_server

from bench.cli import say
from bench.errors import UserError
from bench.tuning import study_store
from bench.ui import HOST, check_port


def serve(results: Path, port: int) -> None:
    """Run the dashboard until Ctrl-C.

    Raises:
        UserError: it is not installed, there is no study that can be read, or the port is taken.
    """
    if importlib.util.find_spec("optuna_dashboard") is None:
        raise UserError(
            "optuna-dashboard is not installed; `pip install optuna-dashboard` brings it, `make studies` too"
        )
    stores = sorted(results.glob(f"*/{study_store.NAME}"))
    if not stores:
        raise UserError(f"{results}: no study here; an experiment with `tuning.trials` makes one (`make bench`)")
    check_port(port, "make studies")
    try:
        copy = study_store.gathered(stores)
    except study_store.StudyStoreUnavailable as problem:
        raise UserError(f"{problem}; {problem.cure}") from None
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # of its own imports
        from optuna_dashboard import wsgi
    with make_server(HOST, port, wsgi(copy)) as server, suppress(KeyboardInterrupt):
        say(f"Optuna's dashboard is at http://{HOST}:{port}/\nCtrl-C stops it.")
        # In a thread of its own: what answers a request swallows a Ctrl-C that comes in the middle of it.
        answering = Thread(target=server.serve_forever, daemon=True)
        answering.start()
        answering.join()
