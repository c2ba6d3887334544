# SPDX-License-Identifier: Apache-2.0
"""Imports point down the layers: the table of ARCHITECTURE.md, read off the syntax trees.

A unit is a folder of the package or a module directly in it; what the tables do not name is L5 and may import all.
"""

import ast
from collections.abc import Iterator
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[1]
LAYERS = (
    {"ir", "errors", "clock", "_compat"},
    {"ops"},
    {"cost"},
    {"engine", "extract"},
    {"frontends", "capture", "lower", "verify", "measure"},
)
TOP = len(LAYERS)
SIDEWAYS = {("ir", "errors"), ("_compat", "errors"), ("verify", "lower"), ("measure", "lower")}
WITHOUT_JAX = {"ir", "errors", "engine", "extract"}


def layer(unit: str) -> int:
    return next((level for level, units in enumerate(LAYERS) if unit in units), TOP)


def imports(tree: ast.AST, package: list[str]) -> Iterator[str]:
    """Full dotted names of what a module in ``package`` imports."""
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            base = package[: len(package) + 1 - node.level] if node.level else []
            yield from (".".join([*base, *filter(None, [node.module]), alias.name]) for alias in node.names)


def fault(unit: str, name: str) -> str | None:
    """What is wrong with an import of ``name`` in ``unit``, or None."""
    top, *rest = name.split(".")
    if top == "egraph_opt":
        target = rest[0] if rest else ""
        sideways = target == unit or (unit, target) in SIDEWAYS or layer(unit) == TOP
        allowed = layer(target) < layer(unit) or (layer(target) == layer(unit) and sideways)
        return None if allowed else "points up or sideways"
    if top == "egglog" and unit != "engine":
        return "only engine/ knows egglog"
    if top in {"jax", "jaxlib"} and unit in WITHOUT_JAX:
        return f"{unit} stays free of JAX"
    if name.startswith("jax._src") and unit != "_compat":
        return "private JAX belongs in _compat.py"
    return None


def faults(source: str, module: tuple[str, ...]) -> list[str]:
    """Faults of one module, given its path as parts: ``("egraph_opt", "ops", "einsum.py")``."""
    unit = module[1].removesuffix(".py")
    names = imports(ast.parse(source), list(module[:-1]))
    return [f"{'/'.join(module)}: import of {name}: {why}" for name in names if (why := fault(unit, name))]


def test_imports_point_down() -> None:
    modules = sorted((ROOT / "egraph_opt").rglob("*.py"))
    assert modules
    found = [line for path in modules for line in faults(path.read_text("utf-8"), path.relative_to(ROOT).parts)]
    assert not found, "\n" + "\n".join(found)


@pytest.mark.parametrize(
    ("module", "source"),
    [
        ("ir/graph.py", "import jax"),
        ("ir/graph.py", "import egraph_opt"),
        ("ir/graph.py", "from egraph_opt import ops"),
        ("ops/einsum.py", "from ..cost import roofline"),
        ("engine/dump.py", "from egraph_opt.extract import table"),
        ("engine/dump.py", "def f():\n    import jax.numpy as jnp"),
        ("extract/tree.py", "from egglog import bindings"),
        ("capture/jaxpr.py", "from egraph_opt.lower.to_jax import lower"),
        ("capture/jaxpr.py", "from egraph_opt.api import optimize"),
        ("lower/to_jax.py", "from jax import _src"),
        ("api.py", "import jax._src.core"),
    ],
)
def test_wrong_imports_are_found(module: str, source: str) -> None:
    assert faults(source, ("egraph_opt", *module.split("/")))


@pytest.mark.parametrize(
    ("module", "source"),
    [
        ("ir/graph.py", "from egraph_opt.errors import GraphError"),
        ("ops/einsum.py", "from jax import lax\nfrom . import record"),
        ("engine/dump.py", "from egglog import bindings\nfrom egraph_opt.ops import OPS"),
        ("verify/gate.py", "from egraph_opt.lower import lower"),
        ("_compat.py", "from jax._src import core"),
        ("__init__.py", "from egraph_opt.api import optimize"),
    ],
)
def test_right_imports_pass(module: str, source: str) -> None:
    assert not faults(source, ("egraph_opt", *module.split("/")))
