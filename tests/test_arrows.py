"""Who may import whom, held against the imports that the code really has."""

import ast
import subprocess
import sys
from graphlib import TopologicalSorter
from pathlib import Path

import pytest

from bench.plugins import BACKENDS

ROOT = Path(__file__).resolve().parent.parent
MODULES = {
    ".".join(path.relative_to(ROOT).with_suffix("").parts).removesuffix(".__init__"): path
    for package in ("bench", "implementations")
    for path in (ROOT / package).rglob("*.py")
}

# Library -> the only modules that may import it.
CONFINED = {
    "mlflow": {"bench.tracking.client", "bench.tracking.models"},
    "optuna": {"bench.tuning.search", "bench.tuning.study_store"},
    # plain_loop is what `bench overhead` compares the runner with: a script without this project.
    "torch_geometric": {"implementations.backends.pyg", "bench.speed.plain_loop"},
    "dgl": {"implementations.backends.dgl"},
    "matplotlib": {
        "bench.report.canvas",
        "bench.report.curves",
        "bench.report.paper.curves",
        "bench.report.plots",
        "bench.report.studies.lookup_plots",
        "bench.report.studies.attention_plots",
    },
    "jinja2": {"bench.report.html"},
    "pandas": {"bench.datasets._ogb"},
    "distributed": {"bench.workers.connection", "bench.workers.dask_worker"},
}

# Module -> the modules of ours that it may import; whoever is not named here is free within its package's rule.
ALLOWED = {
    "implementations.contract": set(),
    "implementations.features": set(),
    "implementations.name_table": {"implementations.contract"},
    "bench.config": set(),
    "bench.errors": set(),
    "bench.seeds": set(),
    "bench.summary": set(),
    "bench.device": set(),
    "bench.speed.timing": {"bench.device"},
    "bench.study_config": {"bench.config"},
    "bench.work": {"bench.config", "bench.study_config"},
    "bench.outcomes": {"bench.config"},
    "bench.records": {"bench.config", "bench.errors", "bench.outcomes", "bench.work"},
    "bench.task": {"bench.errors", "implementations.contract", "implementations.features"},
    "bench.speed.floor": {"implementations.contract"},
    "bench.speed.ceilings": {"bench.device", "bench.outcomes"},
    "bench.speed.anatomy": {"implementations.contract"},
    "bench.training.objective": set(),
    "bench.training.stored": {"implementations.contract"},
    "bench.training.sampling": {"bench.training.stored", "implementations.contract"},
    "bench.training.parts": {
        "bench.config",
        "bench.training.sampling",
        "bench.training.stored",
        "bench.task",
        "implementations.contract",
        "implementations.features",
    },
    "bench.training.optimizer": {"bench.config"},
    "bench.training.readout": {"bench.seeds", "implementations.initial"},
    "bench.training.relational": set(),
    "bench.training.train": {
        "bench.config",
        "bench.training.network",
        "bench.training.objective",
        "bench.training.optimizer",
        "bench.training.parts",
        "bench.training.readout",
        "implementations.contract",
    },
}

# Package of bench -> the packages beside it that it may import; modules that lie in none are free to it.
BESIDE = {
    "training": set(),
    "speed": set(),
    "studies": {"training"},
    "workers": set(),
    "paper": set(),
    "devices": set(),
    "datasets": {"training"},
    "tuning": set(),
    "tracking": {"paper"},
    "report": {"paper", "speed", "training"},
    "kinds": {"paper", "report", "training"},
}

# What decides a number must not know how it is stored, shown or scheduled.
MEASURING = (
    "bench.training",
    "bench.speed",
    "bench.tuning.search",
    "bench.jobs",
    "bench.rounds",
    "bench.rig",
    "bench.studies",
    "bench.parity",
)
SHOWING = (
    "bench.tracking",
    "bench.report",
    "bench.paper",
    "bench.workers",
    "bench.runner",
    "bench.views",
    "bench.commands",
    "bench.cli",
    "bench.records",
)


def imports(name: str) -> set[str]:
    """Every module that a module imports, anywhere in it."""
    found = set()
    for node in ast.walk(ast.parse(MODULES[name].read_text())):
        if isinstance(node, ast.Import):
            found |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom) and node.module:
            assert node.level == 0, f"{name}: relative imports hide the arrows"
            nested = {f"{node.module}.{alias.name}" for alias in node.names}
            found |= (nested & MODULES.keys()) or {node.module}
    return found


def within(module: str, package: str) -> bool:
    return module == package or module.startswith(package + ".")


def test_implementations_import_nothing_from_bench():
    arrows = [f"{name} -> {other}" for name in MODULES if within(name, "implementations") for other in imports(name)]
    assert arrows
    assert [arrow for arrow in arrows if " -> bench" in arrow] == []


def test_backends_reach_operators_only_through_the_contract():
    arrows = [(name, other) for name in MODULES if within(name, "implementations.backends") for other in imports(name)]
    allowed = ("implementations.contract", "implementations.features", "implementations.epilogue",
               "implementations.copying", "implementations.backends.")  # fmt: skip
    ours = [(name, other) for name, other in arrows if within(other, "implementations")]
    assert ours
    assert [arrow for arrow in ours if not arrow[1].startswith(allowed)] == []


def test_back_ends_share_code_only_by_modules_that_are_none_themselves():
    public = {f"implementations.backends.{name}" for name in BACKENDS.names()}
    assert [(name, other) for name in public & set(MODULES) for other in imports(name) if other in public] == []


def test_no_modules_import_each_other_in_a_loop():
    arrows = {name: {other for other in imports(name) if other in MODULES} for name in MODULES}
    list(TopologicalSorter(arrows).static_order())  # raises CycleError, which names the loop


def test_bench_imports_no_plugin_by_name():
    plugins = ("implementations.backends.", "implementations.operators.", "bench.devices.")
    inside = ("bench.devices", "bench.datasets", "implementations.backends", "implementations.operators")
    arrows = [f"{name} -> {other}" for name in MODULES for other in imports(name)
              if other.startswith(plugins) and not name.startswith(inside)]  # fmt: skip
    assert arrows == []


@pytest.mark.parametrize("library", CONFINED)
def test_a_heavy_library_is_imported_in_one_place(library):
    users = {name for name in MODULES for other in imports(name) if within(other, library)}
    assert users <= CONFINED[library], f"{library} is imported by {sorted(users)}"


@pytest.mark.parametrize("name", ALLOWED)
def test_the_foundations_import_only_what_lies_below(name):
    ours = {other for other in imports(name) if within(other, "bench") or within(other, "implementations")}
    assert ours <= ALLOWED[name]


@pytest.mark.parametrize("package", BESIDE)
def test_a_package_imports_only_the_packages_below_it(package):
    name = f"bench.{package}"
    others = {other.split(".")[1] for module in MODULES if within(module, name) for other in imports(module)
              if other.startswith("bench.") and not within(other, name)}  # fmt: skip
    assert {other for other in others if (ROOT / "bench" / other).is_dir()} <= BESIDE[package]


@pytest.mark.parametrize("name", MEASURING)
def test_what_measures_does_not_know_who_stores_or_shows(name):
    modules = [module for module in MODULES if within(module, name)]
    assert modules
    assert [
        f"{module} -> {other}"
        for module in modules
        for other in imports(module)
        if any(within(other, shower) for shower in SHOWING)
    ] == []


def test_listing_plugins_imports_none_of_the_heavy_libraries():
    code = (
        "import sys, bench.plugins as p; [k.names() for k in p.KINDS.values()];"
        "print([n for n in ('dgl', 'torch_geometric', 'mlflow', 'optuna', 'matplotlib', 'pandas') if n in sys.modules])"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True, cwd=ROOT)
    assert done.stdout.strip() == "[]"
