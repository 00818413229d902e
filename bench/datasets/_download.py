"""Files from the site where a data set was published."""

import http.client
import io
import urllib.request
import zipfile
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import PurePosixPath

from bench.datasets._files import Report
from bench.task import DataUnavailable

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
    """Members of one zip file, whatever folders it has."""

    address: str

    @property
    def name(self) -> str:
        """The address."""
        return self.address

    def contents(self, names: Sequence[str], report: Report) -> Iterator[tuple[str, bytes]]:
        """See `bench.datasets._files.Source`."""
        report(self.address)
        try:
            archive = zipfile.ZipFile(io.BytesIO(_download(self.address)))
        except zipfile.BadZipFile as problem:
            raise DataUnavailable(f"not a zip file: {problem}") from None
        with archive:
            member = {PurePosixPath(path).name: path for path in archive.namelist()}
            for name in names:
                if name not in member:
                    raise DataUnavailable(f"there is no {name} in the archive")
                yield name, archive.read(member[name])


def _download(address: str) -> bytes:
    # torch_geometric.data.download_url has no timeout, switches the certificate check off, and costs the import
    # of torch_geometric.
    try:
        with urllib.request.urlopen(address, timeout=TIMEOUT_S) as response:
            content: bytes = response.read()
    except (OSError, http.client.HTTPException) as problem:
        raise DataUnavailable(str(problem).strip("<>")) from None
    return content
