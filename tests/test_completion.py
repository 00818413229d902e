"""Completion at the TAB key: commands, options, and the names that there are."""

import os
import pty
import re
import select
import shutil
import subprocess
import sys
import time

import pytest

from bench import cli, experiment_file
from bench.paper import table_file
from bench.plugins import BACKENDS, DATASETS


def script_of(shell: str) -> str:
    command = [sys.executable, "-m", "bench", "completion", shell]
    return subprocess.run(command, capture_output=True, text=True, check=True).stdout


@pytest.mark.skipif(shutil.which("bash") is None, reason="there is no bash here")
@pytest.mark.parametrize(
    ("words", "offered"),
    [
        ("bench ru", "run"),
        ("bench run thr", "throughput"),
        ("bench run --dry", "--dry-run"),
        ("bench list da", "datasets"),
    ],
)
def test_bash_completes_commands_options_and_names(words, offered):
    script = script_of("bash")
    asked = f"COMP_WORDS=({words}); COMP_CWORD={len(words.split()) - 1}; _shtab_bench; echo ${{COMPREPLY[@]}}"
    shown = subprocess.run(["bash", "-c", f"{script}\n{asked}"], capture_output=True, text=True, check=True)
    assert offered in shown.stdout.split()


@pytest.fixture(scope="module")
def zsh_script():
    return script_of("zsh")


def test_the_completion_of_zsh_has_every_command_every_option_and_the_names_that_there_are(zsh_script):
    _, parts = cli.parsers(list(cli.COMMANDS))
    for command, part in parts.items():
        assert f"{command}) _arguments -C -s $_shtab_bench_{command.replace('-', '_')}_options" in zsh_script
        block = zsh_script.split(f"_shtab_bench_{command.replace('-', '_')}_options=(\n")[1].split("\n)\n")[0]
        options = {text for action in part._actions for text in action.option_strings}
        assert options <= set(re.findall(r"(?<![\w-])--?[\w-]+", block)), command
    for kind, names in (
        ("experiments", experiment_file.names()),
        ("tables", table_file.names()),
        ("datasets", DATASETS.names()),
        ("backends", BACKENDS.names()),
    ):
        (offered,) = re.findall(rf"^_bench_{kind}\(\) \{{\n  compadd (.*)$", zsh_script, flags=re.MULTILINE)
        assert offered.split() == list(names)
        assert f":_bench_{kind}" in zsh_script


ZSH = """
PS1= TERM=dumb; autoload -Uz compinit; compinit -u -D; eval "$(<'{script}')"
show() {{ print -r -- "<$BUFFER>"; BUFFER= }}; zle -N show; bindkey '^X' show; print READ''Y
"""


def seen_in(terminal: int, pattern: str) -> str:
    """What a terminal shows, up to and with this."""
    shown = ""
    deadline = time.monotonic() + 60
    while not re.search(pattern, shown):
        assert select.select([terminal], [], [], max(0, deadline - time.monotonic()))[0], shown
        shown += os.read(terminal, 4096).decode()
    return re.search(pattern, shown)[0]


@pytest.mark.skipif(shutil.which("zsh") is None, reason="there is no zsh here")
def test_zsh_completes_commands_options_and_names_at_the_tab_key(zsh_script, tmp_path):
    script = tmp_path / "script"
    script.write_text(zsh_script)
    ours, its = pty.openpty()
    process = subprocess.Popen(["zsh", "-f", "-i"], stdin=its, stdout=its, stderr=its, start_new_session=True)
    try:
        os.write(ours, ZSH.format(script=script).encode())
        seen_in(ours, "READY")
        for typed, completed in (
            ("bench ru", "bench run "),
            ("bench run cora-", "bench run cora-public "),
            ("bench run --dry", "bench run --dry-run "),
            ("bench tables gatv2-table9", "bench tables gatv2-table9 "),
            ("bench list dat", "bench list datasets "),
            ("bench parity --backends fused_step_", "bench parity --backends fused_step_pruned "),
        ):
            os.write(ours, f"{typed}\t\x18".encode())
            assert seen_in(ours, r"<[^>]*>") == f"<{completed}>"
    finally:
        process.kill()
        process.wait()
        os.close(ours)
        os.close(its)
