"""What data sets share whose files have no published digests: taken as they are, they are known by what they hold."""

from dataclasses import dataclass, replace

from bench.datasets._files import FileStore, Report
from bench.task import DatasetInfo, FileState


@dataclass(frozen=True)
class Unpinned:
    """All of a `bench.task.Dataset` but how its files are read."""

    stated: DatasetInfo
    store: FileStore

    @property
    def info(self) -> DatasetInfo:
        """What the data set is, with the digest of the files that are here."""
        return replace(self.stated, digest=self.store.digest)

    def files(self) -> list[FileState]:
        """See `bench.task.Dataset`."""
        return self.store.states()

    def fetch(self, report: Report) -> None:
        """See `bench.task.Dataset`."""
        self.store.fetch(report)
