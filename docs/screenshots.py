"""The pictures of pages that the documents show: `make screenshots`, which needs Chromium.

A copy of `results/reference/` is filled into MLflow and Optuna's stores and served, and what a reader would open is
opened. The pictures go into `results/screenshots/`, and from there into the documents.
"""

import argparse
import re
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from playwright.sync_api import Browser, sync_playwright

from bench.folder import ResultsFolder
from bench.tuning import study_store

ROOT = Path(__file__).resolve().parents[1]
PICTURES = ROOT / "results" / "screenshots"
SHOWN = ROOT / "docs" / "pictures"
EXPERIMENT = "default"
WIDTH_PX, HEIGHT_PX, TALL_PX = 1440, 620, 880
PORT = 5055
TIMEOUT_MS = 120_000
# Upon the first visit of all, MLflow opens a panel of its own over a third of the page; a reader closes it once.
NO_FIRST_VISIT = "localStorage.setItem('mlflow.assistant.fab.autoOpenedOnFirstLoad_v1', 'true')"


def main() -> None:
    """Take all pictures."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--results", type=Path, help="a folder with a filled MLflow store, instead of a fresh copy")
    asked = parser.parse_args()
    PICTURES.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory() as place, sync_playwright() as driver:
        results = asked.results or _copy(Path(place) / "results")
        browser = driver.chromium.launch(executable_path=_chromium(), args=["--no-sandbox"])
        _take(browser, (results / "index.html").as_uri(), "results", "h1")
        with served("ui", results) as said:
            links = _links(said)
            # A number of a cell's row has arrived when its back end's name has.
            _take(browser, links[EXPERIMENT], "mlflow", "text=fused")
            _take(browser, links["as charts"], "mlflow-charts", ".scatterlayer .trace", TALL_PX)
            _take(browser, links["its tuning, as charts"], "mlflow-tuning", "text=accuracy_validation_pct", TALL_PX)
        with served("studies", results) as said:
            (address,) = re.findall(r"http://\S+", said)
            _take(browser, address, "studies", f"text={EXPERIMENT} · ", clicked=True)
        browser.close()
    for picture in SHOWN.glob("*.png"):
        shutil.copy(PICTURES / picture.name, picture)


def _chromium() -> str:
    for name in ("chromium", "chromium-browser", "google-chrome"):
        if path := shutil.which(name):
            return path
    raise SystemExit("screenshots: there is no Chromium on this machine; install it by the system's package manager")


def _copy(results: Path) -> Path:
    shutil.copytree(ROOT / "results" / "reference", results)
    for words in (["mlflow", "sync", EXPERIMENT], ["report"]):
        subprocess.run([sys.executable, "-m", "bench", *words, "--results", str(results)], cwd=ROOT, check=True)
    folder = ResultsFolder(results / EXPERIMENT)
    study_store.mend(study_store.default_url(folder.path), folder.records())
    return results


@contextmanager
def served(what: str, results: Path) -> Iterator[str]:
    """`bench ui` or `bench studies` as a person runs it; what it says."""
    command = [sys.executable, "-m", "bench", what, "--results", str(results), "--port", str(PORT)]
    server = subprocess.Popen(command, cwd=ROOT, stdout=subprocess.PIPE, text=True)
    assert server.stdout
    said = ""
    for line in server.stdout:
        said += line
        if "Ctrl-C" in line:
            break
    try:
        yield said
    finally:
        server.terminate()
        server.wait()


def _links(said: str) -> dict[str, str]:
    """What stands before a link -> the link, those of one experiment."""
    found = re.findall(r"^ +(\S.*?): (http://\S+)$", said, flags=re.MULTILINE)
    first = [words for words, _ in found].index(EXPERIMENT)
    return dict(reversed(found[first : first + 4]))


def _take(
    browser: Browser, address: str, name: str, awaited: str, height_px: int = HEIGHT_PX, *, clicked: bool = False
) -> None:
    page = browser.new_page(viewport={"width": WIDTH_PX, "height": height_px})
    page.add_init_script(NO_FIRST_VISIT)
    page.goto(address, timeout=TIMEOUT_MS)
    found = page.locator(awaited).first
    found.wait_for(timeout=TIMEOUT_MS)
    if clicked:
        found.click()
    page.wait_for_timeout(4000)  # columns arrive after rows, and marks move to their places
    page.screenshot(path=PICTURES / f"{name}.png")
    page.close()


if __name__ == "__main__":
    main()
