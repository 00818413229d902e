"""Every back end keeps the contract's promises, and each check catches a back end that breaks its promise."""

import importlib

import pytest
import torch
from broken_backends import CAUGHT_BY, DropsForTwoTargetsAtOnce, MergesDuplicates
from installed import skip_for

from implementations.conformance import CHECKS, Nonconformance, backend_names, main, operator_names
from implementations.dropout_check import compare_dropout
from implementations.operators import gat, gatv2
from implementations.promise import BASE

CPU = torch.device("cpu")
PAPERS_ONLY = ("dgl", "pyg", "pyg_compile")  # test_backends has their sentence
# The operator outermost: its references are computed once and shared by all back ends.
PAIRS = [
    (operator, backend)
    for operator in operator_names()
    for backend in [*backend_names(), "_template"]
    if operator in ("gat", "gatv2") or backend not in PAPERS_ONLY
]


@pytest.mark.parametrize(("operator", "backend"), PAIRS)
@pytest.mark.parametrize("check", CHECKS, ids=lambda check: check.__name__)
def test_a_built_in_back_end_keeps_the_contract(check, backend, operator):
    if check.__name__ == "trains_as_its_layers_define" and backend.endswith("_compile"):
        pytest.skip("torch takes half a minute to compile each step; test_compiled compiles one of each dtype")
    found = importlib.import_module(f"implementations.backends.{backend}").BACKEND
    mathematics = importlib.import_module(f"implementations.operators.{operator}")
    skip_for(found.unsupported(mathematics, BASE, CPU), backend, operator)
    check(found, mathematics, CPU)


@pytest.mark.parametrize("operator", [gat, gatv2], ids=["gat", "gatv2"])
@pytest.mark.parametrize("broken", CAUGHT_BY, ids=lambda broken: broken.__name__)
def test_a_broken_back_end_is_caught(broken, operator):
    check = next(check for check in CHECKS if check.__name__ == CAUGHT_BY[broken])
    with pytest.raises(Nonconformance):
        check(broken(), operator, CPU)


def test_every_check_catches_someone():
    assert {check.__name__ for check in CHECKS} == set(CAUGHT_BY.values())


def test_a_message_says_where_and_by_how_much():
    check = next(check for check in CHECKS if check.__name__ == "agrees_with_the_reference_in_float64")
    with pytest.raises(Nonconformance, match=r"duplicate edges, 3 heads.*differs from the reference.*allowed 1e-10"):
        check(MergesDuplicates(), gat, CPU)


def test_masks_that_targets_share_are_told_by_that_and_by_nothing_else():
    failed = [found.name for found in compare_dropout(DropsForTwoTargetsAtOnce(), gat, BASE, CPU) if not found.passed]
    assert failed == ["targets have masks of their own"]


def test_the_command_passes_a_good_back_end(capsys):
    assert main(["scatter", "--operator", "gat"]) == 0
    out = capsys.readouterr().out.splitlines()
    assert out[0] == "scatter gat on cpu"
    assert len(out) == len(CHECKS) + 2
    assert out[-1] == f"{len(CHECKS)} checks passed, 0 failed"


def test_the_command_fails_a_broken_one_of_another_package_and_says_why(capsys):
    assert main(["broken_backends:NEVER_DROPS", "--operator", "gat"]) == 1
    failed = [line for line in capsys.readouterr().out.splitlines() if "FAILED" in line]
    assert len(failed) == 1
    assert "dropout: not so" in failed[0]


def test_the_command_goes_on_after_an_exception_of_the_back_end(capsys):
    assert main(["broken_backends:RAISES", "--operator", "gat"]) == 1
    out = capsys.readouterr().out
    assert "raised ZeroDivisionError: integer division or modulo by zero (" in out
    assert "passed  predicts memory that grows with the graph" in out


def test_the_command_computes_nothing_where_the_back_end_cannot(capsys):
    assert main(["pyg", "--operator", "gatv2_labml"]) == 0
    out = capsys.readouterr().out
    assert "unsupported, so nothing is computed: PyG has no layer that computes gatv2_labml" in out
    assert "2 checks passed, 0 failed" in out


@pytest.mark.parametrize(
    ("arguments", "answer"),
    [
        (["scater"], "there is no back end 'scater'; did you mean 'scatter'?"),
        (["_template"], "there is no back end '_template'"),
        (["scatter", "--operator", "gta"], "there is no operator 'gta'; did you mean 'gat'?"),
        (["no_such_module:BACKEND"], "'no_such_module' cannot be imported"),
        (["broken_backends:NOTHING"], "module 'broken_backends' has no attribute 'NOTHING'"),
        (["scatter", "--device", "abacus"], "device 'abacus' cannot be used here"),
    ],
)
def test_a_users_mistake_is_answered_in_one_line(arguments, answer, capsys):
    assert main(arguments) == 2
    err = capsys.readouterr().err
    assert answer in err
    assert err.count("\n") == 1


def test_a_wrong_option_is_answered_in_one_line(capsys):
    with pytest.raises(SystemExit) as ended:
        main(["scatter", "--operatr", "gat"])
    assert ended.value.code == 2
    assert capsys.readouterr().err.count("\n") == 1


def test_a_name_that_is_not_the_files_is_a_mistake(monkeypatch, capsys):
    module = importlib.import_module("implementations.backends.scatter")
    monkeypatch.setattr(module.BACKEND, "name", "_template")
    assert main(["scatter"]) == 2
    assert "its name is '_template', and must be the file's, 'scatter'" in capsys.readouterr().err
