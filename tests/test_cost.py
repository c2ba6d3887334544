# SPDX-License-Identifier: Apache-2.0
"""Rankings that the cost models must get right, by e-node prices and by whole graphs; counted, never timed."""

import time

import pytest

from egraph_opt.cost import CostModel, Device, FlopCount, Roofline, cost_model
from egraph_opt.cost.testing import Program, scan
from egraph_opt.errors import ArgumentError
from egraph_opt.ir import Graph, Node, TensorType

CPU = Roofline(Device.default("cpu"))


def node_total(graph: Graph, model: CostModel = CPU) -> float:
    """What extraction would add up."""
    return sum(model.node_cost(node, [graph.nodes[q].type for q in node.operands]) for node in graph.nodes)


def cheaper(first: Graph, second: Graph, model: CostModel = CPU) -> bool:
    """Whether both kinds of price prefer the first; they must agree."""
    by_nodes = node_total(first, model) < node_total(second, model)
    by_graph = model.graph_seconds(first) < model.graph_seconds(second)
    assert by_nodes == by_graph
    return by_nodes


def sum_of_products(n: int, terms: int, rhs: tuple[int, ...], factored: bool, left: bool = True) -> Graph:
    """``A1 @ x + A2 @ x ...`` (left) or ``x @ A1 + ...``, or its factored form."""
    e = Program()
    many = [e.tensor(n, n) for _ in range(terms)]
    x = e.tensor(*rhs)
    text = ("ij,jk->ik" if len(rhs) == 2 else "ij,j->i") if left else "jk,ij->ik"
    if factored:
        return e.build([e.ein(text, e.sum_of(many), x)])
    return e.build([e.sum_of([e.ein(text, a, x) for a in many])])


@pytest.mark.parametrize(("n", "terms"), [(128, 2), (512, 2), (512, 3), (1024, 3), (1024, 8), (4096, 8)])
def test_sum_of_matvecs_is_not_factored(n: int, terms: int) -> None:
    split, factored = (sum_of_products(n, terms, (n,), f) for f in (False, True))
    assert cheaper(split, factored)
    assert cheaper(factored, split, FlopCount())


@pytest.mark.parametrize("n", [64, 256, 1024])
@pytest.mark.parametrize("left", [True, False])
def test_sum_of_products_is_factored(n: int, left: bool) -> None:
    split, factored = (sum_of_products(n, 2, (n, n), f, left) for f in (False, True))
    assert cheaper(factored, split)
    assert cheaper(factored, split, FlopCount())


def test_chain_order_follows_sizes() -> None:
    def chain(sizes: tuple[int, int, int, int], first: bool) -> Graph:
        e = Program()
        x, y, z = (e.tensor(sizes[i], sizes[i + 1]) for i in range(3))
        if first:
            return e.build([e.ein("ab,bc->ac", e.ein("ab,bc->ac", x, y), z)])
        return e.build([e.ein("ab,bc->ac", x, e.ein("ab,bc->ac", y, z))])

    for sizes, first in [((10, 500, 500, 500), True), ((500, 500, 500, 10), False), ((500, 10, 500, 10), False)]:
        assert cheaper(chain(sizes, first), chain(sizes, not first))


@pytest.mark.parametrize("device", [Device.default(kind) for kind in ("cpu", "gpu", "tpu")], ids=["c", "g", "t"])
def test_chain_ending_in_a_vector(device: Device) -> None:
    def chain(first: bool) -> Graph:
        e = Program()
        a, b, x = e.tensor(1000, 1000), e.tensor(1000, 1000), e.tensor(1000)
        if first:
            return e.build([e.ein("ab,b->a", e.ein("ab,bc->ac", a, b), x)])
        return e.build([e.ein("ab,b->a", a, e.ein("ab,b->a", b, x))])

    assert cheaper(chain(False), chain(True), Roofline(device))


@pytest.mark.parametrize(("batch", "merged_wins"), [(1, False), (16, False), (4096, True)])
def test_low_rank_update_depends_on_the_batch(batch: int, merged_wins: bool) -> None:
    def lora(merged: bool) -> Graph:
        e = Program()
        w, b, a = e.tensor(512, 512), e.tensor(512, 64), e.tensor(64, 512)
        x = e.tensor(512, batch) if batch > 1 else e.tensor(512)
        text = "ab,bc->ac" if batch > 1 else "ab,b->a"
        if merged:
            return e.build([e.ein(text, e.sum_of([w, e.ein("ab,bc->ac", b, a)]), x)])
        return e.build([e.sum_of([e.ein(text, w, x), e.ein(text, b, e.ein(text, a, x))])])

    assert cheaper(lora(True), lora(False)) == merged_wins


def test_rank_one_matrix_times_vector() -> None:
    def program(outer: bool) -> Graph:
        e = Program()
        u, v, x = e.tensor(1000), e.tensor(1000), e.tensor(1000)
        if outer:
            return e.build([e.ein("ab,b->a", e.ein("a,b->ab", u, v), x)])
        return e.build([e.ein("a,->a", u, e.ein("a,a->", v, x))])

    assert cheaper(program(False), program(True))


def test_trace_of_a_product() -> None:
    def program(whole: bool) -> Graph:
        e = Program()
        a, b = e.tensor(300, 300), e.tensor(300, 300)
        return e.build([e.ein("aa->", e.ein("ab,bc->ac", a, b)) if whole else e.ein("ab,ba->", a, b)])

    assert cheaper(program(False), program(True))


def test_one_exponential_instead_of_two() -> None:
    def program(split: bool) -> Graph:
        e = Program()
        a, b = e.tensor(1000), e.tensor(1000)
        if split:
            return e.build([e.ein("a,a->a", e.apply("exp", a), e.apply("exp", b))])
        return e.build([e.apply("exp", e.sum_of([a, b]))])

    assert cheaper(program(False), program(True))
    assert cheaper(program(False), program(True), FlopCount())


def test_elementwise_chain_is_cheaper_than_a_product() -> None:
    e = Program()
    x, w = e.tensor(256, 256), e.tensor(256, 256)
    value = x
    for _ in range(8):
        value = e.apply("max", value, w)
    chain = e.build([value])
    e = Program()
    product = e.build([e.ein("ab,bc->ac", e.tensor(256, 256), e.tensor(256, 256))])
    assert cheaper(chain, product)


def test_column_costs_what_a_vector_costs() -> None:
    def program(*shape: int) -> Graph:
        e = Program()
        text = "ab,bc->ac" if len(shape) == 2 else "ab,b->a"
        return e.build([e.ein(text, e.tensor(1000, 1000), e.tensor(*shape))])

    assert node_total(program(1000, 1)) == pytest.approx(node_total(program(1000)), rel=0.05)


def test_dimensions_out_of_matrix_order_cost_a_copy() -> None:
    def attention(text: str, *shape: int) -> Graph:
        e = Program()
        return e.build([e.ein(text, e.tensor(*shape), e.tensor(*shape))])

    tidy = attention("bhqd,bhkd->bhqk", 4, 8, 128, 64)
    mixed = attention("bqhd,bkhd->bhqk", 4, 128, 8, 64)
    assert CPU.graph_seconds(tidy) < CPU.graph_seconds(mixed)
    transposed = attention("bhdq,bhdk->bhkq", 4, 8, 64, 128)
    assert CPU.graph_seconds(transposed) == pytest.approx(CPU.graph_seconds(tidy))


@pytest.mark.parametrize("model", [CPU, Roofline(Device.default("gpu")), FlopCount()])
def test_loop_invariants_are_paid_once(model: CostModel) -> None:
    assert cheaper(scan(128, 300, True), scan(128, 300, False), model)
    assert cheaper(scan(128, 1, False), scan(128, 1, True), model)


def test_prices_are_positive_and_finite() -> None:
    e = Program()
    a, x = e.tensor(3, 4), e.tensor(4)
    graph = e.build([e.apply("tanh", e.reshape(e.ein("ab,b->a", a, x), (3, 1))), e.ein("ab->ba", a)])
    for model in (CPU, FlopCount()):
        for node in graph.nodes:
            assert 0 < model.node_cost(node, [graph.nodes[q].type for q in node.operands]) < 1e3


def test_unknown_ops_have_a_price() -> None:
    node = Node("opaque", (0,), (("name", "mystery"),), (TensorType((5,), "float32"),))
    assert CPU.node_cost(node, [TensorType((7,), "float32")]) > 0


def test_repeated_prices_are_looked_up() -> None:
    calls = 0

    class Counting(Roofline):
        def _node_seconds(self, node: Node, operand_types: object) -> float:
            nonlocal calls
            calls += 1
            return super()._node_seconds(node, operand_types)  # type: ignore[arg-type]

    graph = sum_of_products(64, 8, (64,), factored=False)
    model = Counting(Device.default("cpu"))
    start = time.perf_counter()
    assert node_total(graph, model) == node_total(graph, model)
    assert time.perf_counter() - start < 60
    # One price for the inputs of each shape, one for the products, one for the sum.
    assert calls == 8 + 1 + 1 + 1


def test_option() -> None:
    assert isinstance(cost_model(None), Roofline)
    assert isinstance(cost_model("flops"), FlopCount)
    gpu = cost_model("roofline", "cuda")
    assert isinstance(gpu, Roofline)
    assert gpu.device.kind == "gpu"
    assert cost_model(gpu) is gpu
    for wrong in ("speed", 3):
        with pytest.raises(ArgumentError, match="want 'roofline'"):
            cost_model(wrong)  # type: ignore[arg-type]
