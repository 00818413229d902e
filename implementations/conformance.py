"""Does a back end keep its promises? `python -m implementations.conformance NAME` asks; so can any test.

from implementations.conformance import CHECKS

@pytest.mark.parametrize("check", CHECKS)
def test_my_backend(check):
    check(BACKEND, operator, torch.device("cpu"))
"""

import argparse
import difflib
import importlib
import pkgutil
import sys
import traceback
from collections.abc import Sequence
from typing import NoReturn, cast

import torch

from implementations import backends, operators
from implementations.checks import CHECKS, WITHOUT_A_LAYER
from implementations.contract import Backend, Operator
from implementations.promise import BASE, Check, Nonconformance

__all__ = ["CHECKS", "Check", "Nonconformance", "main"]

PASSED, FAILED, USER_ERROR = 0, 1, 2


class _Mistake(Exception):
    """What the user asked for does not exist; the message is one line."""


def main(arguments: Sequence[str] | None = None) -> int:
    """Check one back end, a line for each check, and return 0 if it passed all, 1 if not, 2 for a user's mistake."""
    asked = _parser().parse_args(arguments)
    try:
        backend = _backend(asked.backend)
        chosen = [_operator(name) for name in asked.operators or operator_names()]
        device = _device(asked.device)
    except _Mistake as mistake:
        sys.stderr.write(f"conformance: {mistake}\n")
        return USER_ERROR
    faults = [fault for operator in chosen for fault in _report(backend, operator, device)]
    failed = sum(fault is not None for fault in faults)
    _say(f"{len(faults) - failed} checks passed, {failed} failed")
    return FAILED if failed else PASSED


def operator_names() -> list[str]:
    """Every operator of this package, by file name."""
    return _names(operators.__path__)


def backend_names() -> list[str]:
    """Every back end of this package, by file name."""
    return _names(backends.__path__)


class _OneLineParser(argparse.ArgumentParser):
    def error(self, message: str) -> NoReturn:
        self.exit(USER_ERROR, f"conformance: {message}; --help tells more\n")


def _parser() -> argparse.ArgumentParser:
    parser = _OneLineParser(
        prog="python -m implementations.conformance",
        description="Hold one back end to everything that the contract promises.",
        epilog="Exit codes: 0 all checks passed, 1 some failed, 2 your mistake.",
    )
    parser.add_argument(
        "backend",
        metavar="NAME|module:ATTRIBUTE",
        help=f"a back end of this package ({', '.join(backend_names())}), or one of another: my_package.mine:BACKEND",
    )
    parser.add_argument(
        "--operator",
        dest="operators",
        nargs="+",
        metavar="NAME",
        help=f"operators to check (default: {' '.join(operator_names())})",
    )
    parser.add_argument("--device", default="cpu", help="as PyTorch calls it: cpu, cuda, cuda:1, mps (default: cpu)")
    return parser


def _report(backend: Backend, operator: Operator, device: torch.device) -> list[str | None]:
    """Print a line for each check of one operator; return what is at fault in each, or None."""
    _say(f"{backend.name} {operator.name} on {device}")
    reason = backend.unsupported(operator, BASE, device)
    if reason is not None:
        _say(f"  unsupported, so nothing is computed: {reason}")
    faults = []
    for check in CHECKS if reason is None else WITHOUT_A_LAYER:
        fault = _fault(check, backend, operator, device)
        _say(f"  {'FAILED' if fault else 'passed'}  {check.__name__.replace('_', ' ')}{f': {fault}' if fault else ''}")
        faults.append(fault)
    return faults


def _fault(check: Check, backend: Backend, operator: Operator, device: torch.device) -> str | None:
    try:
        check(backend, operator, device)
    except Nonconformance as broken:
        return str(broken)
    except Exception as problem:  # noqa: BLE001 - a stranger's code may raise anything, and the other checks go on
        place = traceback.extract_tb(problem.__traceback__)[-1]
        text = " ".join(str(problem).split())
        return f"raised {type(problem).__name__}: {text} ({place.filename}:{place.lineno})"
    return None


def _backend(name: str) -> Backend:
    module, separator, attribute = name.partition(":")
    if not separator:
        if name not in backend_names():
            raise _Mistake(_unknown("back end", name, backend_names()) + " (one of another package: module:ATTRIBUTE)")
        module, attribute = f"{backends.__name__}.{name}", "BACKEND"
    try:
        found = cast(Backend, getattr(importlib.import_module(module), attribute))
    except (ImportError, ValueError) as problem:
        raise _Mistake(f"{module!r} cannot be imported: {problem}") from problem
    except AttributeError:
        raise _Mistake(f"module {module!r} has no attribute {attribute!r}") from None
    if not separator and found.name != name:
        raise _Mistake(f"{module}: its name is {found.name!r}, and must be the file's, {name!r}")
    return found


def _operator(name: str) -> Operator:
    if name not in operator_names():
        raise _Mistake(_unknown("operator", name, operator_names()))
    return cast(Operator, importlib.import_module(f"{operators.__name__}.{name}"))


def _device(name: str) -> torch.device:
    try:
        device = torch.device(name)
        torch.empty(0, device=device)
    except (RuntimeError, AssertionError) as problem:
        raise _Mistake(f"device {name!r} cannot be used here: {str(problem).splitlines()[0]}") from problem
    return device


def _names(path: Sequence[str]) -> list[str]:
    return sorted(module.name for module in pkgutil.iter_modules(path) if not module.name.startswith("_"))


def _unknown(kind: str, name: str, known: Sequence[str]) -> str:
    near = difflib.get_close_matches(name, known, n=1, cutoff=0.5)
    return f"there is no {kind} {name!r}; " + (
        f"did you mean {near[0]!r}?" if near else f"there are {', '.join(known)}"
    )


def _say(text: str) -> None:
    sys.stdout.write(text + "\n")
    sys.stdout.flush()


if __name__ == "__main__":
    sys.exit(main())
