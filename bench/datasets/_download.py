"""Files from the site where a data set was published."""

import http.client
import urllib.request
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field

from bench.datasets import _zipped
from bench.datasets._files import Report
from bench.task import DataUnavailable

LARGEST_BYTES = 8 * 2**30  # of an unpacked file; the features of ogbn-products are the largest
TIMEOUT_S = 5.0  # per network operation; a closed network must not look like a hanging benchmark


@dataclass(frozen=True)
class Upstream:
    """Each file under one address."""

    address: str  # without a final slash

    @property
    def name(self) -> str:
        """The address."""
        return self.address

    def contents(self, names: Sequence[str], report: Report) -> Iterator[tuple[str, bytes]]:
        """See `bench.datasets._files.Source`."""
        for name in names:
            report(f"{name} from {self.address}")
            yield name, _download(f"{self.address}/{name}")


@dataclass(frozen=True)
class UpstreamArchive:
    """Members of one zip file, whatever folder all of them lie in."""

    address: str
    inside: Mapping[str, str] = field(default_factory=dict)  # file name -> end of its path, where it takes more

    @property
    def name(self) -> str:
        """The address."""
        return self.address

    def contents(self, names: Sequence[str], report: Report) -> Iterator[tuple[str, bytes]]:
        """See `bench.datasets._files.Source`."""
        report(self.address)
        with _zipped.opened(_download(self.address)) as archive:
            for name in names:
                end = f"/{self.inside.get(name, name)}"
                path = next((path for path in archive.namelist() if f"/{path}".endswith(end)), None)
                if path is None:
                    raise DataUnavailable(f"there is no {end[1:]} in the archive")
                yield name, _zipped.member(archive, path, LARGEST_BYTES)


def _download(address: str) -> bytes:
    # torch_geometric.data.download_url has no timeout, switches the certificate check off, and costs the import
    # of torch_geometric.
    try:
        with urllib.request.urlopen(address, timeout=TIMEOUT_S) as response:
            content: bytes = response.read()
    except (OSError, http.client.HTTPException) as problem:
        raise DataUnavailable(str(problem).strip("<>")) from None
    return content
