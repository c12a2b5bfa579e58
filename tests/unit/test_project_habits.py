"""The project's habits, held by reading the code: sizes, docstrings, directions, what a wheel carries."""

from __future__ import annotations

import ast
import re
import tomllib
from collections.abc import Iterator
from fnmatch import fnmatch
from functools import cache
from importlib import metadata
from pathlib import Path
from typing import Any

import pytest
from packaging.requirements import Requirement

from pipeline.lifecycle import diagram

ROOT = Path(__file__).resolve().parents[2]
PACKAGES = ("schemas", "pipeline", "workers")
MODULE_LINES_MAX = 300
FUNCTION_LINES_MAX = 40

#: What breaks a habit, and why it may. One that breaks it no longer should go from here.
LONG_MODULES: dict[str, str] = {}
LONG_FUNCTIONS: dict[str, str] = {
    "workers/cli_look.py:depth": "a command: more than half of it is its options and its help",
    "pipeline/inspection/depth.py:region_depth": "one line over; one document, key by key",
    "pipeline/region/packing.py:draft_of": "one line over; waits for being split",
}
SLEEPERS: dict[str, str] = {
    "pipeline/adapters/redis_center_link.py": "waits its time out while there is no region to wait for",
    "pipeline/adapters/sqlite.py": "polls, with a deadline, for a lock that SQLite does not queue for",
    "workers/cli_look.py": "a person looks on: between two looks, with a deadline or until Ctrl-C",
    "workers/embedded_files.py": "polls, with a deadline, for the end of a process that is no child of ours",
    "workers/supervisor.py": "polls, with a deadline, for children to start and to end",
    "workers/supervisor_state.py": "tries a lock again, with a deadline",
}
PAGES_TO_COME: dict[str, str] = {}

Function = ast.FunctionDef | ast.AsyncFunctionDef


@cache
def modules() -> dict[str, ast.Module]:
    """Every module of ours, by its path from the root."""
    found = sorted(path for package in PACKAGES for path in (ROOT / package).rglob("*.py"))
    return {path.relative_to(ROOT).as_posix(): ast.parse(path.read_text()) for path in found}


def functions() -> Iterator[tuple[str, Function]]:
    for path, tree in modules().items():
        for node in ast.walk(tree):
            if isinstance(node, Function):
                yield f"{path}:{node.name}", node


def imports(tree: ast.Module) -> Iterator[str]:
    """The names of all modules that a module imports, wherever it does."""
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            yield from (one.name for one in node.names)
        elif isinstance(node, ast.ImportFrom) and node.module and not node.level:
            yield node.module


def importers(*names: str) -> set[str]:
    return {
        path for path, tree in modules().items() if any(one.split(".")[0] in names for one in imports(tree))
    }


@cache
def project() -> dict[str, Any]:
    return tomllib.loads((ROOT / "pyproject.toml").read_text())


def plain(requirement: str) -> str:
    """The name of a requirement, as registries compare it."""
    return re.sub(r"[-_.]+", "-", re.split(r"[\[<>=!~; ]", requirement)[0]).lower()


def pins() -> list[str]:
    lines = (ROOT / "constraints.txt").read_text().splitlines()
    return [line for line in lines if line and not line.startswith("#")]


def test_the_code_is_where_these_tests_look() -> None:
    assert {path.split("/")[0] for path in modules()} == set(PACKAGES)


def test_a_module_has_at_most_300_lines() -> None:
    lines = {path: len((ROOT / path).read_text().splitlines()) for path in modules()}
    long = {path: count for path, count in lines.items() if count > MODULE_LINES_MAX}
    assert set(long) <= set(LONG_MODULES), long


def test_a_function_has_at_most_40_lines() -> None:
    lines = {name: (node.end_lineno or 0) - node.lineno + 1 for name, node in functions()}
    long = {name: count for name, count in lines.items() if count > FUNCTION_LINES_MAX}
    assert set(long) <= set(LONG_FUNCTIONS), long


def test_every_module_says_what_it_is() -> None:
    silent = [path for path, tree in modules().items() if tree.body and not ast.get_docstring(tree)]
    assert not silent


def test_every_function_says_what_it_returns() -> None:
    silent = [name for name, node in functions() if node.returns is None]
    assert not silent


def test_msgpack_is_in_the_codec_and_nowhere_else() -> None:
    assert importers("msgpack") == {"schemas/codec.py"}


def test_celery_is_in_workers_and_nowhere_else() -> None:
    assert {path.split("/")[0] for path in importers("celery", "kombu", "billiard")} == {"workers"}


def sleeps(node: ast.AST) -> bool:
    if isinstance(node, ast.ImportFrom):
        return node.module == "time" and any(one.name == "sleep" for one in node.names)
    return isinstance(node, ast.Attribute) and ast.unparse(node) == "time.sleep"


def test_nobody_sleeps_but_those_who_say_why() -> None:
    sleepers = {path for path, tree in modules().items() if any(map(sleeps, ast.walk(tree)))}
    assert sleepers <= set(SLEEPERS)


def test_two_builds_of_sqlite_are_kept_apart() -> None:
    ledger = {path for path in modules() if path.startswith("pipeline/adapters/ledger_")}
    region = importers("apsw")
    assert importers("pysqlite3") <= ledger | {"workers/probing.py"}, "the doctor asks for its version"
    assert region
    assert not region & ledger, "docs/decisions/0003-two-sqlite-builds.md says why"
    assert not importers("sqlite3"), "the system's own may have the WAL-reset defect"


def test_a_wheel_carries_every_file_of_the_packages() -> None:
    patterns = project()["tool"]["setuptools"]["package-data"]["*"]
    files = [path for package in PACKAGES for path in (ROOT / package).rglob("*") if path.is_file()]
    data = [path for path in files if path.suffix not in (".py", ".pyc")]
    left = [str(path.relative_to(ROOT)) for path in data if not any(fnmatch(path.name, p) for p in patterns)]
    assert data
    assert not left


def test_every_folder_of_code_is_a_package_that_a_wheel_finds() -> None:
    folders = {path.parent for path in map(ROOT.joinpath, modules())}
    assert all((folder / "__init__.py").is_file() for folder in folders)


def test_the_packages_are_the_same_wherever_they_are_listed() -> None:
    tool = project()["tool"]
    assert {one.rstrip("*") for one in tool["setuptools"]["packages"]["find"]["include"]} == set(PACKAGES)
    assert set(tool["importlinter"]["root_packages"]) == set(PACKAGES)
    assert set(tool["mypy"]["packages"]) == set(PACKAGES)


def test_every_test_has_a_deadline_and_a_warning_fails_it(pytestconfig: pytest.Config) -> None:
    assert 0 < float(pytestconfig.getini("timeout")) <= 300
    assert pytestconfig.getini("filterwarnings")[0] == "error"
    assert pytestconfig.getoption("importmode") == "importlib"


def test_pins_are_exact_and_name_no_address() -> None:
    odd = [line for line in pins() if not re.fullmatch(r"[A-Za-z0-9._-]+==[A-Za-z0-9.+!]+", line)]
    assert not odd


def test_every_dependency_is_pinned() -> None:
    wanted = [*project()["project"]["dependencies"], *project()["build-system"]["requires"]]
    for extra in project()["project"]["optional-dependencies"].values():
        wanted += extra
    assert {plain(one) for one in wanted} <= {plain(line) for line in pins()}


def needed(name: str, extras: frozenset[str], seen: set[tuple[str, frozenset[str]]]) -> None:
    """Walk what is installed: everything that a package needs here, to the end."""
    if (name, extras) in seen:
        return
    seen.add((name, extras))
    for line in metadata.requires(name) or ():
        one = Requirement(line)
        if one.marker is None or any(one.marker.evaluate({"extra": extra}) for extra in ("", *extras)):
            needed(plain(one.name), frozenset(one.extras), seen)


def test_what_init_writes_names_every_setting() -> None:
    from pipeline.settings import Settings
    from workers.making_toml import center_toml, region_toml

    written = center_toml("127.0.0.1:1", "") + region_toml("1806")
    named = set(re.findall(r"^(?:# )?(\w+) =", written, re.MULTILINE))
    parts = [(one.annotation, name) for name, one in Settings.model_fields.items()]
    keys = {key for part, _ in parts for key in getattr(part, "model_fields", ())}
    plain_keys = {name for part, name in parts if not hasattr(part, "model_fields")}
    assert len(keys) > 30
    assert keys | plain_keys <= named


def test_what_the_dependencies_depend_on_is_pinned_as_well() -> None:
    seen: set[tuple[str, frozenset[str]]] = set()
    needed("titian", frozenset({"dev"}), seen)
    names = {name for name, _ in seen} - {"titian"}
    assert len(names) > len(project()["project"]["dependencies"])
    assert names <= {plain(line) for line in pins()}


def test_the_built_in_rules_are_registered_where_others_are() -> None:
    from pipeline.center.rules import BUILT_IN, GROUP

    registered = project()["project"]["entry-points"][GROUP]
    assert registered == {name: f"{rule.__module__}:{name}" for name, rule in BUILT_IN.items()}


def test_ci_runs_make_test_and_nothing_else() -> None:
    lines = (ROOT / ".ci/run").read_text().splitlines()
    work = [line for line in lines if line and not line.startswith("#")]
    assert work[0] == "set -euo pipefail"
    assert work[-1] == "exec make test"
    assert (ROOT / ".ci/run").stat().st_mode & 0o111


def test_an_exception_is_of_something_that_is_there() -> None:
    there = {*modules(), *(name for name, _ in functions())}
    assert {*LONG_MODULES, *LONG_FUNCTIONS, *SLEEPERS} <= there


def test_the_docs_show_the_states_as_the_table_has_them() -> None:
    shown = re.findall(r"```mermaid\n(.*?)```", (ROOT / "docs/journey.md").read_text(), re.DOTALL)
    assert shown == [diagram()], "put what pipeline.lifecycle.diagram() returns into docs/journey.md"


def test_beside_each_promise_there_are_tests() -> None:
    rows = re.findall(r"^\| \d \| \*\*.*$", (ROOT / "README.md").read_text(), re.MULTILINE)
    assert len(rows) == 6
    named = {one for row in rows for one in re.findall(r"`(tests/\w+)`", row)}
    assert named
    assert not [one for one in named if not list((ROOT / one).glob("test_*.py"))]


def documents() -> list[str]:
    found = [*ROOT.glob("*.md"), *(ROOT / "docs").rglob("*.md"), *(ROOT / "compose").glob("*.md")]
    return sorted(path.relative_to(ROOT).as_posix() for path in found)


@pytest.mark.parametrize("document", documents())
def test_what_a_document_points_at_exists(document: str) -> None:
    text = (ROOT / document).read_text()
    links = [one.split("#")[0] for one in re.findall(r"\]\(([^)\s]+)\)", text) if "://" not in one]
    named = re.findall(r"`((?:schemas|pipeline|workers|docs|compose)/[\w/.-]+\.\w+)`", text)
    here = (ROOT / document).parent
    missing = [one for one in links if one and not (here / one).exists()]
    missing += [one for one in named if not (ROOT / one).exists()]
    assert set(missing) <= {one for one in missing if Path(one).name in PAGES_TO_COME}
