"""What a back end says of the work it does, where that is not everyone's."""

from bench.plugins import BACKENDS
from implementations.contract import AMOUNT_OF_WORK, TRAINING_STEP


def other_work(backend: str) -> str:
    """In which way a back end does another amount of work than the others, or nothing."""
    return _said(backend, AMOUNT_OF_WORK)


def training_step(backend: str) -> str:
    """What of a training step is its own, if it says so."""
    return _said(backend, TRAINING_STEP)


def _said(backend: str, topic: str) -> str:
    fact = BACKENDS.get(backend).semantics.get(topic) if backend in BACKENDS.names() else None
    return fact.here if fact else ""
