"""What a command says is for people or for programs; where nobody takes it, work and exit code stay what they are."""

import json
import os
import subprocess
from pathlib import Path

import pytest
from fault_tools import BENCH, FOREIGN, ROOT, tiny

from bench import cli


def test_a_program_that_asks_what_would_be_run_gets_json_and_nothing_else(tmp_path, capsys):
    assert cli.main(["run", "smoke", "--dry-run", "--json", "--results", str(tmp_path)]) == 0
    planned = json.loads(capsys.readouterr().out)
    assert {"backend": "pyg", "operator": "gat", "dataset": "blocks", "device": "cpu"} in planned["cells"]
    assert planned["phases"]["parity"] == {"jobs": len(planned["cells"]), "recorded": 0}
    assert planned["left_s"] > 0
    assert not planned["measured"]


def test_of_a_study_it_is_told_how_many_jobs_there_are(tmp_path, capsys):
    assert cli.main(["run", "attention", "--dry-run", "--json", "--results", str(tmp_path)]) == 0
    planned = json.loads(capsys.readouterr().out)
    assert planned["jobs"] > planned["recorded"] == 0
    assert planned["left_s"] > 0
    assert not planned["measured"]


@pytest.mark.skipif(not Path("/dev/full").exists(), reason="there is no full disk here")
def test_what_a_full_disk_does_not_take_is_told_in_one_line():
    with Path("/dev/full").open("w") as full:
        done = subprocess.run([*BENCH, "list"], stdout=full, stderr=subprocess.PIPE, text=True, cwd=ROOT, check=False)
    assert done.returncode == 2
    (line,) = done.stderr.splitlines()
    assert line.startswith("bench: standard output: No space left on device; make room")


def test_a_run_whose_reader_goes_away_is_run_to_its_end_and_says_that_it_failed(tmp_path):
    path, results = tiny(tmp_path, ('["scatter"]', '["failing"]')), tmp_path / "results"
    here = os.environ | {"PYTHONPATH": os.pathsep.join([str(FOREIGN), os.environ.get("PYTHONPATH", "")])}
    command = [*BENCH, "run", str(path), "--mlflow", "off", "--results", str(results)]
    pipes = {"stdout": subprocess.PIPE, "stderr": subprocess.PIPE, "text": True}
    with subprocess.Popen(command, cwd=ROOT, env=here, **pipes) as process:
        process.stdout.readline()
        process.stdout.close()
        errors = process.stderr.read()
    assert process.returncode == 1
    assert "Traceback" not in errors
    assert (results / "index.html").exists()
