"""`plots/` of a results folder: what was drawn of its records is not drawn again for the page over all of them."""

from collections.abc import Callable, Iterable, Mapping

from bench import records
from bench.basis import code_digest
from bench.environment import versions
from bench.folder import SNAPSHOT, ResultsFolder, write_atomically
from bench.paper import table_file
from bench.work import digest

Images = Mapping[tuple[str, str], bytes]
"""By name and format."""
STAMP = ".drawn-of"


def hang(folder: ResultsFolder, images: Images, names: Iterable[str] = ()) -> dict[str, str]:
    """Write `plots/`, without those of `names` that are not among the images; SVG texts by name."""
    place = folder.path / "plots"
    place.mkdir(parents=True, exist_ok=True)
    shown = _shown(folder)
    for name in names:
        for kind in ("svg", "png"):
            if (name, kind) not in images:
                (place / f"{name}.{kind}").unlink(missing_ok=True)
    for (name, kind), image in images.items():
        write_atomically(place / f"{name}.{kind}", image)
    texts = svgs(images)
    write_atomically(place / STAMP, "\n".join([shown, *texts]) + "\n")
    return texts


def on_show(folder: ResultsFolder, draw: Callable[[], Images]) -> dict[str, str]:
    """SVG texts by name: what hangs there, where it shows the records of now as the code of now would; else drawn."""
    place = folder.path / "plots"
    try:
        shown, *names = (place / STAMP).read_text(encoding="utf-8").splitlines()
        if shown == _shown(folder):
            return {name: (place / f"{name}.svg").read_text(encoding="utf-8") for name in names}
    except (OSError, ValueError):  # never drawn, or a file of them was lost or damaged
        pass
    return svgs(draw())


def svgs(images: Images) -> dict[str, str]:
    """The texts of those in SVG, by name."""
    return {name: image.decode() for (name, kind), image in images.items() if kind == "svg"}


def _shown(folder: ResultsFolder) -> str:
    """Digest of what decides a picture: what was asked, what came out, and what draws."""
    sources = [folder.path / name for name in (SNAPSHOT, table_file.SNAPSHOT, records.NAME)]
    return digest(
        {
            "contents": [source.read_text(errors="replace") for source in sources if source.exists()],
            "code": code_digest(("",)),
            "versions": versions(("matplotlib",)),
        }
    )
