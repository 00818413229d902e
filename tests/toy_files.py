"""Two small files with pinned digests, and a source that has them."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

from bench.datasets._files import FileStore, Report, Source, sha256
from bench.task import DataUnavailable

FILES = {"one.txt": b"first file", "two.txt": b"second file"}
PINNED = {name: sha256(content) for name, content in FILES.items()}


@dataclass
class Shelf:
    """A source that has these contents, and remembers what it was asked."""

    files: dict[str, bytes]
    asked: list[str]
    name: str = "shelf"

    def contents(self, names: Sequence[str], report: Report) -> Iterator[tuple[str, bytes]]:
        for name in names:
            self.asked.append(name)
            report(f"{name} from the shelf")
            if name not in self.files:
                raise DataUnavailable("out of stock")
            yield name, self.files[name]


def shelf(**changed: bytes) -> Shelf:
    return Shelf(FILES | {f"{name}.txt": content for name, content in changed.items()}, [])


def store_of(*sources: Source) -> FileStore:
    return FileStore("toy", PINNED, sources, folders=("planetoid-toy",))


def visible(folder: Path) -> set[str]:
    return {path.name for path in folder.iterdir() if path.name != ".lock"}


def put(folder: Path, files: dict[str, bytes]) -> None:
    folder.mkdir(parents=True, exist_ok=True)
    for name, content in files.items():
        (folder / name).write_bytes(content)
