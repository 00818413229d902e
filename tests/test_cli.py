"""The command line: exit codes, one clear line for a mistake, never a traceback."""

import errno
import io
import json
import os
import re
import resource
import signal
import subprocess
import sys
import threading
import time
from pathlib import Path

import psutil
import pytest
import record_builders
from fault_tools import tiny
from installed import skip_for

from bench import cli
from bench.commands import list as list_command
from bench.commands import overhead
from bench.folder import ResultsFolder
from implementations.backends._fused import library

BROKEN = """
title = "t"
backends = ["pig"]
operators = ["gat"]
datasets = ["blocks"]
devices = ["cpu"]
seeds = [0]
"""


def bench(*arguments: str, **options: object) -> subprocess.CompletedProcess:
    command = [sys.executable, "-m", "bench", *arguments]
    return subprocess.run(command, capture_output=True, text=True, **options)


@pytest.mark.parametrize("command", cli.COMMANDS)
def test_every_command_has_help(command, capsys):
    with pytest.raises(SystemExit) as done:
        cli.main([command, "--help"])
    assert done.value.code == 0
    assert f"bench {command}" in capsys.readouterr().out


def test_the_overview_names_every_command(capsys):
    with pytest.raises(SystemExit):
        cli.main(["--help"])
    shown = capsys.readouterr().out
    assert all(command in shown for command in cli.COMMANDS)


@pytest.mark.parametrize(
    ("arguments", "says"),
    [
        (["run", "smok"], "did you mean 'smoke'"),
        (["run", "absent.toml"], "no such file"),
        (["tables", "gat-tabel2"], "did you mean 'gat-table2'"),
        (["tables", "gat-table2", "--only", "citeser/gat"], "did you mean 'citeseer/gat"),
        (["tables", "--only", "x"], "name the one table"),
        (["report", "never-run"], "nothing was run here"),
        (["mlflow", "sync"], "nothing was run here yet"),
        (["data", "kora"], "did you mean 'cora'"),
        (["parity", "smoke", "--backends", "pig"], "did you mean 'pyg'"),
        ([], "name a command: run, list,"),
        (["table"], "did you mean 'tables'"),
        (["--json", "run", "smoke"], "there is no command '--json'"),
        (["run", "smoke", "--backends", "pyg"], "unrecognized arguments: --backends pyg; `bench run --help`"),
        (["compare", "default", "throughput"], "default: there is no such folder; name two experiments' folders"),
    ],
)
def test_a_users_mistake_is_one_line_with_the_cure_and_exit_code_2(arguments, says, capsys):
    assert cli.main(arguments) == 2
    shown = capsys.readouterr()
    assert says in shown.err
    assert shown.err.startswith("bench: ")
    assert len(shown.err.splitlines()) == 1


def test_a_broken_file_is_refused_before_anything_runs(tmp_path, capsys):
    path = tmp_path / "broken.toml"
    path.write_text(BROKEN)
    assert cli.main(["run", str(path), "--results", str(tmp_path / "results")]) == 2
    assert f"{path}: backends: there is no back end 'pig'; did you mean 'pyg'?" in capsys.readouterr().err
    assert not (tmp_path / "results").exists()


@pytest.mark.parametrize("name", ["equivalence", "attention"])
def test_what_times_nothing_cannot_be_timed_again(name, tmp_path, capsys):
    assert cli.main(["run", name, "--retime", "--results", str(tmp_path)]) == 2
    assert f"--retime: {name} times nothing" in capsys.readouterr().err
    assert list(tmp_path.iterdir()) == []


def test_a_dry_run_names_cells_and_jobs_and_writes_nothing(tmp_path, capsys):
    assert cli.main(["run", "smoke", "--dry-run", "--results", str(tmp_path)]) == 0
    shown = capsys.readouterr().out
    assert "pyg · gat · blocks · cpu" in shown
    assert "to go" in shown
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("encoding", ["latin-1", "ascii", "utf-8"])
def test_a_title_that_the_terminal_has_no_signs_for_is_spelt_out(encoding, tmp_path, monkeypatch):
    title = "Größe → 学 🐗"
    ResultsFolder(tmp_path / "mine").write_experiment(record_builders.experiment(title=title))

    def written(*arguments: str) -> str:
        monkeypatch.setattr(sys, "stdout", io.TextIOWrapper(io.BytesIO(), encoding))
        assert cli.main(["report", "mine", *arguments, "--results", str(tmp_path)]) == 0
        return sys.stdout.buffer.getvalue().decode(encoding)

    assert title.encode(encoding, "backslashreplace").decode(encoding) in written()
    assert json.loads(written("--json"))["title"] == title


def start_a_process_without_files_left():
    limits = resource.getrlimit(resource.RLIMIT_NOFILE)
    with Path(os.devnull).open() as lowest:
        resource.setrlimit(resource.RLIMIT_NOFILE, (lowest.fileno() + 1, limits[1]))
    try:
        subprocess.run([sys.executable, "-c", ""], check=True)
    finally:
        resource.setrlimit(resource.RLIMIT_NOFILE, limits)


def start_a_thread_too_large_to_be():
    before = threading.stack_size(2**47)  # as much as a process can have
    try:
        threading.Thread(target=print).start()
    finally:
        threading.stack_size(before)


def refuse_to_fork():
    raise BlockingIOError(errno.EAGAIN, os.strerror(errno.EAGAIN))  # to root the system never does


@pytest.mark.faults
@pytest.mark.parametrize(
    ("ask", "said"),
    [
        (start_a_process_without_files_left, "Too many open files; allow more open files (`ulimit -n`)"),
        (start_a_thread_too_large_to_be, "can't start new thread; allow more processes (`ulimit -u`)"),
        (refuse_to_fork, "Resource temporarily unavailable; allow more processes (`ulimit -u`)"),
    ],
)
def test_what_the_system_refuses_without_naming_a_file_is_a_line_with_the_cure(ask, said, monkeypatch, capsys):
    monkeypatch.setattr(list_command, "execute", lambda arguments: ask())
    assert cli.main(["list"]) == cli.USER_ERROR
    assert capsys.readouterr().err == f"bench: {said}; the same command goes on from there\n"


@pytest.mark.parametrize("problem", [OSError("no errno, no file"), RuntimeError("a mistake of ours")])
def test_a_mistake_of_our_own_is_not_taken_for_the_system_s(problem, monkeypatch):
    def fail(arguments):
        raise problem

    monkeypatch.setattr(list_command, "execute", fail)
    with pytest.raises(type(problem), match=str(problem)):
        cli.main(["list"])


def test_an_unknown_command_is_exit_code_2_without_a_traceback():
    done = bench("runn")
    assert done.returncode == 2
    assert "Traceback" not in done.stderr


def test_ctrl_c_ends_with_130_says_how_to_go_on_and_leaves_no_child(tmp_path):
    process = subprocess.Popen(
        [sys.executable, "-m", "bench", "run", "smoke", "--mlflow", "off", "--results", str(tmp_path)],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )
    deadline = time.monotonic() + 60
    while not (children := psutil.Process(process.pid).children(recursive=True)) and time.monotonic() < deadline:
        time.sleep(0.05)
    assert children
    process.send_signal(signal.SIGINT)
    _, errors = process.communicate(timeout=60)
    assert psutil.wait_procs(children, timeout=30)[1] == []
    assert process.returncode == 130
    assert "goes on from there" in errors
    assert "Traceback" not in errors
    assert bench("run", "smoke", "--dry-run", "--results", str(tmp_path)).returncode == 0


def test_the_doctor_names_versions_and_absent_devices(capsys):
    assert cli.main(["doctor"]) == 0
    shown = capsys.readouterr().out
    assert "torch-geometric" in shown
    assert "device mps" in shown


def test_the_doctor_says_what_each_back_end_can_run_and_why_dgl_has_no_cuda_row(capsys):
    assert cli.main(["doctor"]) == 0
    shown = capsys.readouterr().out
    assert "PyG has no layer that computes gatv2_labml" in shown
    assert re.search(r"^pyg +cpu, cuda, mps +gat, gatv2$", shown, flags=re.MULTILINE)
    assert re.search(r"^dgl +cuda +the DGL wheel .* has no CUDA code", shown, flags=re.MULTILINE)


def test_listing_says_what_is_installed_without_loading_it():
    program = (
        "import sys; from bench import cli; cli.main(['list']);"
        "print([name for name in ('dgl', 'torch_geometric', 'pandas', 'mlflow') if name in sys.modules])"
    )
    shown = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True).stdout
    assert shown.rstrip().endswith("[]")
    assert re.search(r"^pyg +torch-geometric [\d.]+$", shown, flags=re.MULTILINE)


def test_a_back_end_that_owns_its_step_goes_from_the_gate_to_the_page(tmp_path, capsys):
    skip_for(library.missing(), "fused_step")
    path = tiny(tmp_path, ('"scatter"', '"scatter", "fused_step"'), ("trials = 3", "trials = 0"))
    assert cli.main(["run", str(path), "--results", str(tmp_path / "results"), "--mlflow", "off"]) == 0
    assert "fused_step" in capsys.readouterr().out
    assert "fused_step" in (tmp_path / "results/tiny/table.md").read_text()
    assert cli.main(["parity", str(path), "--backends", "fused_step"]) == 0


def test_the_overhead_is_measured_in_pairs(capsys):
    ours_s, plain_s = overhead.measure(pairs=1, epochs=2)
    assert list(ours_s) == list(plain_s) == [0]
    assert "plain script" in capsys.readouterr().out


def test_parity_passes_for_a_right_back_end(capsys):
    assert cli.main(["parity", "smoke", "--backends", "scatter"]) == 0
    shown = capsys.readouterr().out
    table, _, semantics = shown.partition("Semantics")
    assert "passed" in table
    assert "duplicate edges" in semantics
    assert max(map(len, table.splitlines())) <= 120


def test_json_numbers_of_records_may_be_infinite():
    from bench.outcomes import Check

    check = Check(name="n", graph="g", dtype="d", difference=float("inf"), tolerance=1.0, passed=False)
    assert Check.model_validate(json.loads(check.model_dump_json())) == check


def test_every_command_says_its_exit_codes(capsys):
    for command in cli.COMMANDS:
        with pytest.raises(SystemExit):
            cli.main([command, "--help"])
        assert "Exit codes: 0 done" in capsys.readouterr().out


@pytest.mark.usefixtures("foreign")
def test_a_back_end_that_computes_something_else_is_exit_code_1(tmp_path, capsys):
    assert cli.main(["parity", "smoke", "--backends", "wrong"]) == 1
    assert "FAILED [1]" in capsys.readouterr().out
    path = tiny(tmp_path, ("scatter", "wrong"))
    assert cli.main(["run", str(path), "--mlflow", "off"]) == 1


@pytest.mark.parametrize("command", ["list", "doctor"])
def test_a_program_that_asks_for_json_gets_nothing_else(command, capsys):
    assert cli.main([command, "--json"]) == 0
    assert json.loads(capsys.readouterr().out)


def test_a_papers_table_that_is_asked_for_json_prints_what_is_kept_of_it_and_nothing_else(tmp_path, capsys):
    arguments = ["tables", "gatv2-tables13-17", "--json", "--mlflow", "off", "--results", str(tmp_path)]
    assert cli.main(arguments) == 0
    found = json.loads(capsys.readouterr().out)
    assert found == json.loads((tmp_path / "gatv2-tables13-17" / "table.json").read_text())
    assert len(found["tests"]) == 23


def test_of_several_tables_there_is_one_json_text_too(tmp_path, capsys):
    names = ["gatv2-fig5", "gatv2-tables13-17"]
    assert cli.main(["tables", *names, "--json", "--mlflow", "off", "--results", str(tmp_path)]) == 0
    found = json.loads(capsys.readouterr().out)["tables"]
    assert found == [json.loads((tmp_path / name / "table.json").read_text()) for name in names]
    assert [one["verdict"] for one in found[0]["rows"]] == ["not run"] * 8


def test_a_run_that_is_asked_for_json_prints_its_cells_and_nothing_else(tmp_path, capsys):
    path = tiny(tmp_path, ("seeds = [0, 1, 2]", "seeds = [0]"), ("trials = 3", "trials = 1"))
    assert cli.main(["run", str(path), "--mlflow", "off", "--json"]) == 0
    (cell,) = json.loads(capsys.readouterr().out)["cells"]
    assert cell["backend"] == "scatter"
