"""After the build, every link and picture of every page must lead somewhere on the site, and nothing may be fetched."""

from collections.abc import Iterator
from dataclasses import dataclass, field
from html.parser import HTMLParser
from pathlib import Path
from typing import Any
from urllib.parse import unquote, urlsplit

from sphinx.application import Sphinx
from sphinx.errors import ExtensionError

LOADING = {"img": "src", "script": "src", "iframe": "src", "source": "src", "link": "href"}
"""Tags that a browser fetches by itself, and where they say what."""


@dataclass
class Page(HTMLParser):
    """What a page offers as places, what it links to, what it loads."""

    places: set[str] = field(default_factory=set)
    links: list[str] = field(default_factory=list)
    loaded: list[str] = field(default_factory=list)

    def __post_init__(self) -> None:
        super().__init__()

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        """Called by the parser for each tag."""
        found = dict(attrs)
        if identity := found.get("id"):
            self.places.add(identity)
        if tag == "a" and (link := found.get("href")):
            self.links.append(link)
        if (address := found.get(LOADING.get(tag, ""))) and not address.startswith("data:"):
            self.loaded.append(address)


def problems(site: Path) -> Iterator[str]:
    """One line for each link that leads nowhere, and for each thing that would be fetched from elsewhere."""
    pages = {path.resolve(): _read(path) for path in sorted(site.rglob("*.html"))}
    for path, page in pages.items():
        shown = path.relative_to(site.resolve())
        yield from (f"{shown}: loads {address}" for address in page.loaded if _is_elsewhere(address))
        for link in dict.fromkeys([*page.links, *page.loaded]):
            if not _is_elsewhere(link) and not _leads(path, link, pages):
                yield f"{shown}: {link} leads nowhere"


def _read(path: Path) -> Page:
    page = Page()
    page.feed(path.read_text(encoding="utf-8"))
    return page


def _is_elsewhere(address: str) -> bool:
    found = urlsplit(address)
    return bool(found.scheme or found.netloc)


def _leads(path: Path, link: str, pages: dict[Path, Page]) -> bool:
    found = urlsplit(link)
    target = (path.parent / unquote(found.path)).resolve() if found.path else path
    if found.fragment and target in pages:
        return unquote(found.fragment) in pages[target].places
    return target.exists()


def _check(app: Sphinx, failure: Exception | None) -> None:
    if failure is None and app.builder.format == "html" and (found := list(problems(Path(app.outdir)))):
        raise ExtensionError("\n".join(["links that lead nowhere, or leave the site by themselves:", *found]))


def setup(app: Sphinx) -> dict[str, Any]:
    """Check when the build is over."""
    app.connect("build-finished", _check)
    return {"parallel_read_safe": True}
