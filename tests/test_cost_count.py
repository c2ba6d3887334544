# SPDX-License-Identifier: Apache-2.0
"""Counts of work: fusion, loops, branches, frozen inputs; and device descriptions."""

import dataclasses
import json
from pathlib import Path

import pytest

from egraph_opt.cost import Count, Device, count_graph, count_node, frozen_nodes, kernels, peak_bytes
from egraph_opt.cost.testing import Program, scan
from egraph_opt.cost.work import Kind
from egraph_opt.errors import CostError
from egraph_opt.ir import Graph, TensorType
from egraph_opt.ir.attrs import DType


def test_product() -> None:
    e = Program()
    graph = e.build([e.ein("ab,bc->ac", e.tensor(2, 3), e.tensor(3, 4))])
    nbytes = 4 * (6 + 12 + 8)
    assert count_graph(graph) == Count(48, 48, 0, nbytes, 1)
    assert count_node(graph.nodes[2], graph.input_types) == count_graph(graph)


def test_elementwise_chain_is_one_kernel() -> None:
    e = Program()
    x = e.tensor(100)
    y = e.apply("tanh", e.sum_of([e.apply("exp", x), e.scaled(x, 3.0)]))
    assert count_graph(e.build([y])) == Count(200, 0, 200, 800, 1)


def test_cheap_work_is_repeated_and_costly_work_is_stored() -> None:
    def program(op: str) -> Graph:
        e = Program()
        x = e.tensor(100)
        shared = e.apply(op, x, x) if op == "max" else e.apply(op, x)
        return e.build([e.apply("sign", shared), e.apply("abs", shared)])

    cheap, costly = count_graph(program("max")), count_graph(program("tanh"))
    assert (cheap.launches, cheap.flops, cheap.bytes) == (2, 400, 2 * 800)
    assert (costly.launches, costly.transcendentals, costly.bytes) == (3, 100, 3 * 800)


def test_costly_work_is_not_repeated_along_a_broadcast() -> None:
    e = Program()
    scale, x = e.tensor(10), e.tensor(10, 50)
    count = count_graph(e.build([e.ein("ab,a->ab", x, e.apply("rsqrt", scale))]))
    assert count.launches == 2
    assert count.transcendentals == pytest.approx(10 * 0.6)


def test_reduction_computes_its_operand() -> None:
    e = Program()
    x, y = e.tensor(10, 50), e.tensor(10, 50)
    found = kernels(e.build([e.ein("ab->a", e.apply("exp", e.sum_of([x, y])))]))
    assert [k.kind for k in found] == [Kind.REDUCTION]
    assert found[0].bytes == 4 * (500 + 500 + 10)


def test_operands_of_products_are_stored() -> None:
    e = Program()
    a, b = e.tensor(10, 10), e.tensor(10, 10)
    product = e.ein("ab,bc->ac", e.apply("exp", a), b)
    found = kernels(e.build([e.apply("tanh", product)]))
    assert [k.kind for k in found] == [Kind.FUSED, Kind.CONTRACTION, Kind.FUSED]


def test_transpose_of_a_product_operand_is_free() -> None:
    e = Program()
    a, b = e.tensor(10, 20), e.tensor(10, 20)
    turned = e.add("einsum", [a], (("spec", "ab->ba;10,20"),), TensorType((20, 10), "float32"))
    product = e.add("einsum", [turned, b], (("spec", "ab,bc->ac;20,10,20"),), TensorType((20, 20), "float32"))
    assert count_graph(e.build([product])).launches == 1
    assert count_graph(e.build([product, turned])).launches == 2


def test_reshape_is_free() -> None:
    e = Program()
    x = e.reshape(e.ein("ab,b->a", e.tensor(10, 10), e.tensor(10)), (2, 5))
    assert count_graph(e.build([x])).launches == 1


def test_slice_reads_its_part() -> None:
    e = Program()
    x = e.tensor(1000, 10)
    attrs = (("start_indices", (0, 0)), ("limit_indices", (2, 10)), ("strides", None))
    part = e.add("slice", [x], attrs, TensorType((2, 10), "float32"))
    assert count_graph(e.build([e.apply("tanh", part)])).bytes == 2 * 80


def test_what_reads_no_input_is_free() -> None:
    e = Program()
    attrs = (("dtype", "float32"), ("shape", (100,)), ("dimension", 0))
    table = e.apply("exp", e.add("iota", [], attrs, TensorType((100,), "float32")))
    x = e.tensor(100)
    assert count_graph(e.build([e.sum_of([x, table])])) == Count(100, 0, 0, 1200, 1)


def test_complex_products_count_four() -> None:
    e = Program()
    x = e.input(TensorType((8, 8), "complex64"))
    assert count_graph(e.build([e.ein("ab,bc->ac", x, x)])).flops == 4 * 2 * 512


def test_narrow_products_read_narrow_operands() -> None:
    e = Program()
    wide = []
    for _ in range(2):
        x = e.input(TensorType((64, 64), "bfloat16"))
        attrs = (("new_dtype", DType("float32")),)
        wide.append(e.elementwise("convert_element_type", [x], attrs, TensorType((64, 64), "float32")))
    (product,) = kernels(e.build([e.ein("ab,bc->ac", *wide)]))
    assert product.dtype == "bfloat16"
    assert product.bytes == 64 * 64 * (2 + 2 + 4)


def test_peak_memory() -> None:
    e = Program()
    x = e.tensor(100)
    y = e.apply("tanh", x)
    for _ in range(3):
        y = e.ein("a,b->ab", y, x)
        y = e.ein("ab->a", y)
    # The outer products are never stored.
    assert peak_bytes(e.build([y])) <= 4 * 100 * 4
    e = Program()
    a, b = e.tensor(100, 100), e.tensor(100, 100)
    first = e.ein("ab,bc->ac", a, b)
    second = e.ein("ab,bc->ac", first, b)
    third = e.ein("ab,bc->ac", second, b)
    assert peak_bytes(e.build([third])) == 4 * 40_000
    assert peak_bytes(e.build([third, first])) == 5 * 40_000


def test_frozen_inputs() -> None:
    e = Program()
    w, v, x = e.tensor(10, 10), e.tensor(10, 10), e.tensor(10)
    merged = e.ein("ab,bc->ac", w, v)
    graph = e.build([e.ein("ab,b->a", merged, x)])
    free = frozen_nodes(graph, [0, 1])
    assert {graph.nodes[n].op for n in free} == {"input", "einsum"}
    assert len(free) == 3
    assert count_graph(graph).flops == 2200
    assert count_graph(graph, free) == Count(200, 200, 0, 480, 1)


def test_trips_and_invariants() -> None:
    n, length = 8, 50
    formed, split = count_graph(scan(n, length, True)), count_graph(scan(n, length, False))
    assert formed.contraction_flops == 2 * n**3 + length * 2 * n**2
    assert split.contraction_flops == length * 4 * n**2


def test_invariants_leave_nested_loops() -> None:
    inner = scan(8, 5, True)
    e = Program()
    a, x = e.tensor(8, 8), e.tensor(8)
    graph = e.build([e.loop(inner, [a, x], 1, 7)])
    assert count_graph(graph).contraction_flops == 2 * 8**3 + 7 * 5 * 2 * 8**2


def test_while_uses_the_given_trips() -> None:
    e = Program()
    x = e.tensor(8)
    zero = e.constant(0.0, "float32")
    total = e.ein("a->", x)
    condition = e.build([e.elementwise("lt", [total, zero], (), TensorType((), "bool"))])
    e = Program()
    body = e.build([e.apply("tanh", e.tensor(8))])
    e = Program()
    attrs = (("cond", condition), ("body", body), ("cond_nconsts", 0), ("body_nconsts", 0))
    graph = e.build([e.add("while", [e.tensor(8)], attrs, TensorType((8,), "float32"))])
    assert count_graph(graph).transcendentals == 80
    assert count_graph(graph, while_trips=3).transcendentals == 24


def test_the_dearest_branch_counts() -> None:
    branches = []
    for many in (1, 3):
        e = Program()
        x = e.tensor(8)
        for _ in range(many):
            x = e.apply("tanh", x)
        branches.append(e.build([x]))
    e = Program()
    index, x = e.input(TensorType((), "int32")), e.tensor(8)
    graph = e.build([e.add("cond", [index, x], (("branches", tuple(branches)),), TensorType((8,), "float32"))])
    assert count_graph(graph).transcendentals == 24


def test_counts_add_up() -> None:
    one = Count(1, 2, 3, 4, 5)
    assert one + one == one.times(2)


def test_device_json(tmp_path: Path) -> None:
    device = Device.default("gpu")
    path = tmp_path / "device.json"
    path.write_text(device.to_json(), encoding="utf-8")
    assert Device.load(path).to_json() == device.to_json()
    assert Device.default("cuda") is device
    assert Device.default("abacus").kind == "cpu"


@pytest.mark.parametrize("field", ["bandwidth", "vector_flops", "cache_bytes", "launch_seconds", "narrow"])
@pytest.mark.parametrize("value", [0.0, -1.0, float("nan")])
def test_device_rates_are_positive(field: str, value: float) -> None:
    with pytest.raises(CostError, match=f"{field} is .*; want a number above 0"):
        dataclasses.replace(Device.default("cpu"), **{field: value})


def test_broken_device_files(tmp_path: Path) -> None:
    values = json.loads(Device.default("cpu").to_json())
    texts = [
        "{",
        json.dumps(values | {"colour": 1}),
        json.dumps(values | {"peak_flops": {}}),
        json.dumps(values | {"kind": "abacus"}),
    ]
    for text in texts:
        path = tmp_path / "device.json"
        path.write_text(text, encoding="utf-8")
        with pytest.raises(CostError, match=r"device\.json: device"):
            Device.load(path)
    with pytest.raises(CostError, match=r"gone\.json"):
        Device.load(tmp_path / "gone.json")


def test_bandwidth_falls_with_size() -> None:
    device = Device.default("cpu")
    sizes = [1e3, 1e6, 1.7e7, 2.5e7, 1e8, 1e10]
    rates = [device.bandwidth_for(size) for size in sizes]
    assert rates == sorted(rates, reverse=True)
    assert rates[0] == device.cache_bandwidth
    assert rates[-1] == pytest.approx(device.bandwidth)
