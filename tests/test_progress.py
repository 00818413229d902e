"""What the terminal shows while jobs run, on a terminal and without one."""

import os
import pty
import re
import subprocess
import sys

import pytest
import record_builders as build

from bench.progress import PlainDisplay, news

# Foreground and background, of 8, 16, 256 or all colours; bold and dim are no colours.
COLOUR = re.compile(r"\x1b\[(?:\d+;)*(?:3[0-8]|4[0-8]|9[0-7]|10[0-7])(?:;\d+)*m")
STYLE = re.compile(r"\x1b\[[\d;]*m")
PROGRESS = """
from bench.progress import display
with display() as shown:
    shown.update(1, 3, 60.0, {"cpu:0": "fit pyg"})
    shown.say("1/3 done")
"""


def on_a_terminal(script: str, **environment: str) -> str:
    """What a child whose standard error is a pseudo-terminal writes there."""
    inherited = {name: value for name, value in os.environ.items() if name not in ("NO_COLOR", "FORCE_COLOR", "CI")}
    near, far = pty.openpty()
    child = subprocess.Popen(
        [sys.executable, "-c", script],
        env={**inherited, "TERM": "xterm-256color", "COLUMNS": "100", **environment},
        stderr=far,
    )
    os.close(far)
    said = b""
    while part := _read(near):
        said += part
    os.close(near)
    assert child.wait() == 0, said.decode()
    return said.decode()


def _read(terminal: int) -> bytes:
    try:
        return os.read(terminal, 65536)
    except OSError:  # how Linux tells that nobody holds the other end any more
        return b""


@pytest.mark.parametrize(
    ("environment", "coloured"), [({}, True), ({"NO_COLOR": "1"}, False)], ids=["as is", "NO_COLOR"]
)
def test_progress_on_a_terminal_has_colours_unless_they_are_declined(environment, coloured):
    said = on_a_terminal(PROGRESS, **environment)
    assert re.search(r"1/3 \d:\d\d:\d\d about 60 s left", STYLE.sub("", said))
    assert re.search(r"cpu:0 +fit pyg", said)
    assert "1/3 done" in said
    assert bool(COLOUR.search(said)) == coloured


def test_without_a_terminal_progress_is_plain_lines():
    done = subprocess.run([sys.executable, "-c", PROGRESS], capture_output=True, text=True, check=True)
    assert done.stderr == "1/3 done\n"


@pytest.mark.parametrize(("left_s", "said"), [(60.0, "1/3, about 60 s left; "), (None, "1/3; ")])
def test_a_plain_sign_of_life_says_the_time_left_where_it_can_be_told(monkeypatch, capsys, left_s, said):
    monkeypatch.setattr(PlainDisplay, "EVERY_S", 0.0)
    PlainDisplay().update(1, 3, left_s, {"cpu:0": "fit pyg"})
    assert capsys.readouterr().err == f"  ... {said}at work: fit pyg\n"


@pytest.mark.parametrize(("is_error", "said"), [(False, "test 35.00 %"), (True, "test error 0.35")])
def test_the_news_of_a_fit_are_a_share_or_an_error_as_the_data_have_it(is_error, said):
    fitted = build.fit(build.key(), 0, 0.35).outcome
    assert news(fitted.model_copy(update={"is_error": is_error})) == f"{said}, epoch 100 of 200"
