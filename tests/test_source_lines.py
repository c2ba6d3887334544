# SPDX-License-Identifier: Apache-2.0
"""Every node of an optimised program lists the user lines that it came from: in text, source, HLO and traces."""

from __future__ import annotations

import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import pytest

import egraph_opt
from egraph_opt.capture import capture
from egraph_opt.ir import Graph, Source
from egraph_opt.ir.sources import MAX_SHOWN, lines_scope, shown
from egraph_opt.normalise import normalise
from egraph_opt.result import Result

N = 80
A, X = np.ones((N, N), np.float32), np.ones(N, np.float32)
HERE = Path(__file__).name


def number(mark: str) -> int:
    rows = Path(__file__).read_text("utf-8").splitlines()
    return next(i for i, row in enumerate(rows, 1) if row.endswith(f"# {mark}"))


def lines(graph: Graph, op: str) -> list[set[int]]:
    return [{source.line for source in node.sources} for node in graph if node.op == op]


def chain(a: Any, b: Any, x: Any) -> Any:
    product = a @ b  # product
    with jax.named_scope("block"):
        y = product @ x  # vector
    return jnp.tanh(y)  # tanh


def planned(program: Callable[..., Any]) -> Result:
    result = egraph_opt.optimize(program, measure=False).plan(A, A, X)
    assert result.report.improved
    return result


def test_merged_sums() -> None:
    def program(x: Any) -> Any:
        y = x + 1.0  # one
        return y + 2.0  # two

    graph = normalise(capture(program, (X,)).graph)
    both = {number("one"), number("two")}
    assert all(found == both for found in lines(graph, "add"))
    assert lines(graph, "add")


def test_merged_sums_of_a_plan() -> None:
    """The constants become one before the search."""

    def program(x: Any) -> Any:
        y = x + 1.0  # plus one
        y = y + 2.0  # plus two
        return jnp.tanh(y)  # read

    result = egraph_opt.optimize(program, measure=False).plan(X)
    both = {number("plus one"), number("plus two")}
    assert lines(result.search.before, "add") == lines(result.after, "add") == [both]
    (shown,) = (text for text in result.to_python().splitlines() if "x + 3.0" in text)
    assert all(f"{Path(__file__).name}:{line}" in shown for line in both)


def test_merged_factors() -> None:
    def program(x: Any) -> Any:
        y = 2.0 * x  # twice
        return 3.0 * y  # thrice

    graph = capture(program, (X,)).graph
    assert lines(graph, "einsum") == [{number("twice"), number("thrice")}]


def test_absorbed_transposes() -> None:
    def program(a: Any, x: Any) -> Any:
        turned = a.T  # turned
        return turned @ x  # times

    graph = capture(program, (A, X)).graph
    assert lines(graph, "einsum") == [{number("turned"), number("times")}]


def test_a_shared_transpose_does_not_spread_its_lines() -> None:
    def program(a: Any, x: Any) -> Any:
        y = jnp.tanh(a.T @ x)  # first use
        return jnp.sin(a.T @ y)  # second use

    graph = normalise(capture(program, (A, X)).graph)
    products = [node for node in graph if len(node.operands) == 2]
    assert [{s.line for s in node.sources} for node in products] == [{number("first use")}, {number("second use")}]


def test_what_a_rule_made_lists_what_it_replaced() -> None:
    after = planned(chain).after
    both = {number("product"), number("vector")}
    assert lines(after, "einsum") == [both, both]
    assert lines(after, "tanh") == [{number("tanh")}]


def test_what_stays_keeps_its_own_lines() -> None:
    def program(a: Any, b: Any, x: Any) -> Any:
        kept = jnp.exp(x)  # kept
        return a @ b @ kept  # rest

    after = planned(program).after
    assert lines(after, "exp") == [{number("kept")}]
    assert all(found == {number("rest")} for found in lines(after, "einsum"))


def test_a_class_that_was_distributed_over() -> None:
    def program(a: Any, b: Any, x: Any) -> Any:
        total = a + b @ b  # total
        return total @ x  # applied

    after = planned(program).after
    found = set().union(*lines(after, "einsum"))
    assert found == {number("total"), number("applied")}


def test_python_source() -> None:
    source = planned(chain).to_python()
    comment = next(row for row in source.splitlines() if "@" in row and "#" in row)
    assert f"{HERE}:{number('product')}" in comment
    assert f"{HERE}:{number('vector')} (block)" in comment


def test_hlo_metadata() -> None:
    result = planned(chain)
    text = jax.jit(result.flat).lower([A, A, X]).compile().as_text()
    scope = f"block/{HERE}.L{number('vector')}.L{number('product')}/dot_general"
    assert f"/{scope}" in text, "all lines stand in the scope"
    frame = re.search(rf'op_name="[^"]*{re.escape(scope)}" stack_frame_id=(\d+)', text)
    assert frame is not None
    assert _place(text, int(frame.group(1))) == (HERE, number("vector"))
    frame = re.search(r'op_name="[^"]*/tanh" stack_frame_id=(\d+)', text)
    assert frame is not None
    assert _place(text, int(frame.group(1))) == (HERE, number("tanh"))


def _place(text: str, frame: int) -> tuple[str, int]:
    """File and line of a stack frame, from the tables at the head of a compiled program."""

    def row(table: str, key: int) -> str:
        return re.search(rf"^{key} (.*)$", text.split(f"\n{table}\n")[1], re.MULTILINE).group(1)  # type: ignore[union-attr]

    def field(found: str, name: str) -> int:
        return int(re.search(rf"{name}=(\d+)", found).group(1))  # type: ignore[union-attr]

    location = row("FileLocations", field(row("StackFrames", frame), "file_location_id"))
    return Path(row("FileNames", field(location, "file_name_id")).strip('"')).name, field(location, "line")


def test_profiler_trace(tmp_path: Path) -> None:
    """A trace holds the program with its metadata; XLA's CPU events name its operations, viewers join the two."""
    result = planned(chain)
    result(A, A, X)
    with jax.profiler.trace(str(tmp_path)):
        jax.block_until_ready(result(A, A, X))
    (trace,) = tmp_path.rglob("*.xplane.pb")
    data = trace.read_bytes()
    assert str(Path(__file__)).encode() in data
    assert f"block/{HERE}.L{number('vector')}.L{number('product')}/dot_general".encode() in data
    assert b"hlo_op" in data


def test_scopes_of_lines() -> None:
    one, two, other = Source("/p/a.py", 1), Source("/p/a.py", 2, "s"), Source("/p/b.py", 7)
    assert lines_scope((one,)) == ""
    assert lines_scope((one, Source("/p/a.py", 1, "s"))) == ""
    assert lines_scope((two, one, other)) == "a.py.L2.L1+b.py.L7"


@pytest.mark.parametrize("count", [0, 1, MAX_SHOWN, MAX_SHOWN + 3])
def test_long_lists_are_cut_in_text_only(count: int) -> None:
    sources = tuple(Source("m.py", k) for k in range(count))
    text = shown(sources)
    assert text.count("m.py:") == min(count, MAX_SHOWN)
    assert ("and 3 more" in text) == (count > MAX_SHOWN)
