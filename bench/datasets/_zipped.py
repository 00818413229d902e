"""Zip archives that somebody else made: members are read in memory, by name, and no further than they may go."""

import io
import zipfile

from bench.task import DataUnavailable


def opened(content: bytes) -> zipfile.ZipFile:
    """An archive.

    Raises:
        DataUnavailable: it is none.
    """
    try:
        return zipfile.ZipFile(io.BytesIO(content))
    except Exception as problem:  # noqa: BLE001 - zipfile has a dozen for what it cannot read, few of them its own
        raise DataUnavailable(f"not a zip file: {_said(problem)}") from None


def member(archive: zipfile.ZipFile, path: str, most: int) -> bytes:
    """One file's content: it never becomes a file by its name in the archive, and never more than it says.

    Raises:
        DataUnavailable: it has more than `most` bytes, or cannot be unpacked.
    """
    size = archive.getinfo(path).file_size
    if size > most:
        raise DataUnavailable(f"{path} would unpack to {size:,} bytes; it should have no more than {most:,}")
    try:
        return archive.read(path)
    except Exception as problem:  # noqa: BLE001 - nor have the codecs behind it
        raise DataUnavailable(f"{path}: cannot be unpacked: {_said(problem)}") from None


def _said(problem: Exception) -> str:
    return str(problem) or type(problem).__name__
