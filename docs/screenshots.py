"""The pictures of pages that the documents show: `make screenshots`, which needs Chromium.

A copy of `results/reference/` is filled into MLflow and served, and what a reader would open is opened.
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

ROOT = Path(__file__).resolve().parents[1]
PICTURES = ROOT / "docs" / "pictures"
WINDOW = {"width": 1440, "height": 620}
PORT = 5055
# Upon the first visit of all, MLflow opens a panel of its own over a third of the page; a reader closes it once.
NO_FIRST_VISIT = "localStorage.setItem('mlflow.assistant.fab.autoOpenedOnFirstLoad_v1', 'true')"


def main() -> None:
    """Take all pictures."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--results", type=Path, help="a folder with a filled MLflow store, instead of a fresh copy")
    asked = parser.parse_args()
    with tempfile.TemporaryDirectory() as place, sync_playwright() as driver:
        results = asked.results or _copy(Path(place) / "results")
        browser = driver.chromium.launch(executable_path=_chromium(), args=["--no-sandbox"])
        _take(browser, (results / "index.html").as_uri(), "results", "h1")
        with served(results) as links:
            # A number of a cell's row has arrived when its back end's name has.
            _take(browser, links[0], "mlflow", "text=fused")
        browser.close()


def _chromium() -> str:
    for name in ("chromium", "chromium-browser", "google-chrome"):
        if path := shutil.which(name):
            return path
    raise SystemExit("screenshots: there is no Chromium on this machine; install it by the system's package manager")


def _copy(results: Path) -> Path:
    shutil.copytree(ROOT / "results" / "reference", results)
    for words in (["mlflow", "sync"], ["report"]):
        subprocess.run([sys.executable, "-m", "bench", *words, "--results", str(results)], cwd=ROOT, check=True)
    return results


@contextmanager
def served(results: Path) -> Iterator[list[str]]:
    """`bench ui` as a person runs it; the links that it prints."""
    command = [sys.executable, "-m", "bench", "ui", "--results", str(results), "--port", str(PORT)]
    server = subprocess.Popen(command, cwd=ROOT, stdout=subprocess.PIPE, text=True)
    assert server.stdout
    said = ""
    for line in server.stdout:
        said += line
        if "Ctrl-C" in line:
            break
    try:
        yield re.findall(r"http://\S+/#/\S+", said)
    finally:
        server.terminate()
        server.wait()


def _take(browser: Browser, address: str, name: str, awaited: str) -> None:
    page = browser.new_page(viewport=WINDOW)
    page.add_init_script(NO_FIRST_VISIT)
    page.goto(address, timeout=120_000)
    page.locator(awaited).first.wait_for(timeout=120_000)
    page.wait_for_timeout(2000)  # columns arrive after rows
    page.screenshot(path=PICTURES / f"{name}.png")
    page.close()


if __name__ == "__main__":
    main()
