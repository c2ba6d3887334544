# SPDX-License-Identifier: Apache-2.0
"""The normaliser: sums are flattened and collected, copies go into products, classes of numerics are respected."""

from __future__ import annotations

from egraph_opt.ir import Builder, Graph, Spec, TensorType
from egraph_opt.ir.emit import Emitter
from egraph_opt.ir.numerics import Numerics
from egraph_opt.normalise import normalise

T = TensorType((4, 4), "float32")


def specs(graph: Graph) -> list[str]:
    return [node.attr("spec") for node in graph if node.op == "einsum"]


def raw_sum(numerics: Numerics) -> Graph:
    builder = Builder()
    x, y, z = (builder.input(T) for _ in range(3))
    minus = builder.add("einsum", (y,), (("spec", "ab->ab;4,4|-1"),), T)
    inner = builder.add("add", (x, minus), (), T)
    outer = builder.add("add", (inner, z), (), T)
    return normalise(builder.build([builder.add("add", (outer, x), (), T)]), numerics)


def test_sums_become_one_with_collected_terms() -> None:
    graph = raw_sum(Numerics.REASSOCIATE)
    assert graph.op_counts()["add"] == 1
    assert specs(graph) == ["ab->ab;4,4|2", "ab->ab;4,4|-1"]


def test_exact_leaves_sums_as_they_are() -> None:
    assert raw_sum(Numerics.EXACT).op_counts()["add"] == 3


def test_cancelling_terms_are_kept() -> None:
    emitter = Emitter()
    x, y = emitter.input(T), emitter.input(T)
    graph = normalise(emitter.build([emitter.sum_of([x, emitter.scaled(x, -1), y])]))
    assert graph.op_counts()["add"] == 1, "x - x is zero for finite x only"
    assert len(graph.nodes[graph.outputs[0]].operands) == 3


def test_shared_inner_sums_stay_shared() -> None:
    emitter = Emitter()
    x, y, z = (emitter.input(T) for _ in range(3))
    inner = emitter.sum_of([x, y])
    graph = normalise(emitter.build([emitter.sum_of([inner, z]), inner]))
    assert graph.op_counts()["add"] == 2


def test_copies_go_into_products() -> None:
    builder = Builder()
    x, y = builder.input(T), builder.input(T)
    turned = builder.add("einsum", (x,), (("spec", "ab->ba;4,4"),), T)
    again = builder.add("einsum", (turned,), (("spec", "ab->ba;4,4"),), T)
    product = builder.add("einsum", (again, y), (("spec", "ab,bc->ac;4,4,4"),), T)
    graph = normalise(builder.build([product]))
    assert specs(graph) == ["ab,bc->ac;4,4,4"]
    assert all(Spec.parse(text).is_pure for text in specs(graph))


def test_an_identity_matrix_disappears_from_products() -> None:
    emitter = Emitter()
    x = emitter.input(T)
    sizes = {"a": 4, "b": 4, "c": 4}
    graph = emitter.build([emitter.contract(["ab", "bc"], "ac", sizes, [emitter.eye(4, "float32"), x])])
    assert graph.outputs == graph.inputs


def test_selection_by_a_constant_is_decided() -> None:
    emitter = Emitter()
    x, y = emitter.input(T), emitter.input(T)
    true, nan = emitter.constant(True, "bool"), emitter.constant(float("nan"), "float32")
    kept = emitter.elementwise("select_n", [true, y, x], (), T)
    filled = emitter.elementwise("select_n", [true, y, nan], (), T)
    assert kept == x
    assert emitter.uniform_scalar(filled) == nan


def test_normal_form_is_a_fixpoint() -> None:
    graph = raw_sum(Numerics.REASSOCIATE)
    assert normalise(graph) == graph
