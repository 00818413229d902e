"""What a data set says besides what `bench.task.Dataset` asks of it, if its features have negative entries."""

from typing import Protocol, runtime_checkable


@runtime_checkable
class SignedFeatures(Protocol):
    """The sum of a node's features does not measure their size, so rows are not divided by it."""

    has_signed_features: bool
