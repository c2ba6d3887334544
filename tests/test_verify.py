# SPDX-License-Identifier: Apache-2.0
"""The error gate on whole programs: what it admits, what it refuses, and what it does not run."""

import itertools

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from egraph_opt.cost.testing import Program
from egraph_opt.errors import ArgumentError
from egraph_opt.ir import Graph, TensorType
from egraph_opt.ir.attrs import DType
from egraph_opt.verify import KINDS, Limits, Verifier, compare, promote_graph, sample_inputs


def factoring(factored: bool, dtype: str = "float32", n: int = 24) -> Graph:
    e = Program()
    a, b, c = (e.input(TensorType((n, n), dtype)) for _ in range(3))
    if factored:
        return e.build([e.ein("ab,bc->ac", a, e.sum_of([b, c]))])
    return e.build([e.sum_of([e.ein("ab,bc->ac", a, b), e.ein("ab,bc->ac", a, c)])])


def test_equal_programs_pass() -> None:
    verdict = compare(factoring(False), factoring(True))
    assert verdict.ok, verdict.reason
    assert verdict.reference == "float64"
    assert verdict.error_original is not None
    assert 0 < verdict.error_original < 1e-5
    assert len(verdict.outputs) == 1


@pytest.mark.parametrize("dtype", ["bfloat16", "float16", "complex64"])
def test_other_element_types(dtype: str) -> None:
    assert compare(factoring(False, dtype), factoring(True, dtype)).ok


def test_double_precision_programs() -> None:
    with jax.enable_x64(True):
        assert compare(factoring(False, "float64"), factoring(True, "float64")).ok
        e = Program()
        a, b, c = (e.input(TensorType((24, 24), "float64")) for _ in range(3))
        noisy = e.sum_of([e.ein("ab,bc->ac", a, e.sum_of([b, c])), e.scaled(b, 1e-9)])
        assert not compare(factoring(False, "float64"), e.build([noisy])).ok


def test_the_same_program_is_not_run() -> None:
    assert compare(factoring(False), factoring(False)).reason == "the same program"


def test_wrong_programs_are_refused() -> None:
    e = Program()
    a, b, _ = (e.tensor(24, 24) for _ in range(3))
    verdict = compare(factoring(False), e.build([e.ein("ab,bc->ac", a, b)]))
    assert not verdict.ok
    assert verdict.reason.startswith("output 0: error ")


def shifted(amount: float) -> Graph:
    e = Program()
    x, y = e.tensor(100), e.tensor(100)
    if amount == 0:
        return e.build([e.scaled(x, 2.0)])
    near = e.sum_of([e.scaled(x, 2.0), e.scaled(y, amount)])
    return e.build([e.sum_of([near, e.scaled(y, -amount)])])


def test_cancellation_is_refused_and_its_removal_admitted() -> None:
    assert not compare(shifted(0), shifted(1e4)).ok
    better = compare(shifted(1e4), shifted(0))
    assert better.ok
    assert better.error_original is not None
    assert better.error_candidate is not None
    assert better.error_candidate < better.error_original


def hyperbolic(spelt: bool) -> Graph:
    e = Program()
    x = e.tensor(500)
    if not spelt:
        return e.build([e.apply("tanh", x)])
    one, twice = e.broadcast(e.constant(1.0, "float32"), "", (500,)), e.apply("exp", e.scaled(x, 2.0))
    return e.build([e.apply("div", e.sum_of([twice, e.scaled(one, -1)]), e.sum_of([twice, one]))])


def test_overflow_that_the_original_avoids_is_refused() -> None:
    verdict = compare(hyperbolic(False), hyperbolic(True))
    assert not verdict.ok
    assert "infinite or NaN where the original is finite" in verdict.reason


def test_finite_where_the_original_is_not() -> None:
    def logarithms(removed: bool) -> Graph:
        e = Program()
        x = e.tensor(50)
        return e.build([x if removed else e.apply("exp", e.apply("log", x))])

    verdict = compare(logarithms(False), e_identity(50))
    assert not verdict.ok
    assert "finite where the original is infinite or NaN" in verdict.reason
    assert compare(logarithms(False), e_identity(50), fewer_nonfinite=True).ok


def e_identity(n: int) -> Graph:
    e = Program()
    return e.build([e.tensor(n)])


def test_nothing_finite_says_nothing() -> None:
    def roots(scale: float) -> Graph:
        e = Program()
        x = e.tensor(50)
        squared = e.ein("a,a->a", x, x)
        below = e.sum_of([e.scaled(squared, -1), e.broadcast(e.constant(-1.0, "float32"), "", (50,))])
        return e.build([e.scaled(e.apply("sqrt", below), scale)])

    verdict = compare(roots(2.0), roots(3.0))
    assert not verdict.ok
    assert "no finite value" in verdict.reason


def test_integers_are_exact() -> None:
    def squares(scale: int) -> Graph:
        e = Program()
        x = e.input(TensorType((7,), "int32"))
        return e.build([e.einsum(f"a->a;7|{scale}", [x])])

    verdict = compare(squares(2), squares(3))
    assert not verdict.ok
    assert "int32 values differ" in verdict.reason


def test_interfaces_must_agree() -> None:
    e = Program()
    x = e.tensor(50)
    strong, weak = e.build([x]), e.build([x], weak_outputs=[True])
    assert compare(strong, weak).reason == "output types differ: f32[50]~; want f32[50]"
    assert "input types differ" in compare(strong, e_identity(51)).reason


def printing(label: str) -> Graph:
    e = Program()
    x = e.tensor(5)
    call = e.add("opaque", [x], (("name", "debug_callback"), ("primitive", label)), ())
    return e.build([x], effects=[call])


def test_effects_are_not_run() -> None:
    e = Program()
    x = e.tensor(5)
    call = e.add("opaque", [x], (("name", "debug_callback"), ("primitive", "a")), ())
    other = e.build([e.scaled(x, 2.0)], effects=[call])
    verdict = compare(printing("a"), other)
    assert verdict.ok
    assert verdict.reference == "structure"
    assert "effects" in verdict.reason
    assert compare(printing("a"), printing("b")).reason == "effects differ"
    assert compare(printing("a"), e_identity(5)).reason == "effects differ"


def test_limits() -> None:
    small = Verifier(factoring(False), limits=Limits(flops=1e4))
    assert small.reference == "native"
    assert small.check(factoring(True)).ok
    assert not small.check(factoring_with_noise()).ok
    tiny = Verifier(factoring(False), limits=Limits(bytes=10.0))
    assert tiny.reference == "structure"
    assert "too large" in tiny.check(factoring(True)).reason


def factoring_with_noise() -> Graph:
    e = Program()
    a, b, c = (e.tensor(24, 24) for _ in range(3))
    return e.build([e.sum_of([e.ein("ab,bc->ac", a, e.sum_of([b, c])), e.scaled(c, 1e-3)])])


def test_capture_is_checked_against_the_function() -> None:
    def right(leaves: list[jax.Array]) -> list[jax.Array]:
        a, b, c = leaves
        return [a @ b + a @ c]

    def wrong(leaves: list[jax.Array]) -> list[jax.Array]:
        a, b, c = leaves
        return [a @ b - a @ c]

    assert Verifier(factoring(False), function=right).check(factoring(True)).ok  # type: ignore[arg-type]
    verdict = Verifier(factoring(False), function=wrong).check(factoring(True))  # type: ignore[arg-type]
    assert not verdict.ok
    assert verdict.reason.startswith("capture: output 0")


def test_given_inputs_are_used() -> None:
    zeros = [np.zeros((24, 24), np.float32)] * 3
    assert compare(factoring(False), factoring_with_noise(), zeros).ok


def test_promotion() -> None:
    e = Program()
    x = e.input(TensorType((4,), "bfloat16"), "x")
    wide = e.elementwise("convert_element_type", [x], (("new_dtype", DType("float32")),), TensorType((4,), "float32"))
    bits = e.add("bitcast_convert_type", [wide], (("new_dtype", DType("int32")),), TensorType((4,), "int32"))
    back = e.add("bitcast_convert_type", [bits], (("new_dtype", DType("float32")),), TensorType((4,), "float32"))
    graph = promote_graph(e.build([back, wide], weak_outputs=[False, True]))
    assert [str(t) for t in graph.output_types] == ["f64[4]", "f64[4]~"]
    assert graph.names == ("x",)
    casts = [node for node in graph if node.op == "bitcast_convert_type"]
    assert [[graph.nodes[q].type.dtype for q in node.operands] for node in casts] == [["float32"], ["int32"]]
    assert {node.type.dtype for node in graph if node.op == "einsum"} <= {"float64"}


def test_samples_are_reproducible_and_typed() -> None:
    types = [
        TensorType((3, 3), "float32"),
        TensorType((5,), "int32"),
        TensorType((), "bool"),
        TensorType((2,), "key<fry>"),
    ]
    types += [TensorType((4,), "complex64"), TensorType((2,), "bfloat16"), TensorType((0, 3), "float32")]
    for kind, seed in itertools.product(KINDS, (0, 1)):
        first, second = sample_inputs(types, seed, kind), sample_inputs(types, seed, kind)
        for type, x, y in zip(types, first, second, strict=True):
            assert x.shape == type.shape
            assert str(x.dtype) == type.dtype
            if not type.dtype.startswith("key"):
                np.testing.assert_array_equal(x, y)
    definite = sample_inputs(types, kind="definite")[0]
    assert np.linalg.eigvalsh(definite).min() > 0.9
    assert (np.asarray(sample_inputs(types)[1]) >= 0).all()


def test_given_leaves_stay() -> None:
    types = [TensorType((3,), "float32")] * 2
    mine = jnp.ones(3)
    leaves = sample_inputs(types, given=[jax.ShapeDtypeStruct((3,), jnp.float32), mine])
    assert leaves[1] is mine
    with pytest.raises(ArgumentError, match="got 1 leaves; want 2"):
        sample_inputs(types, given=[mine])
    with pytest.raises(ArgumentError, match="kind='wild'"):
        sample_inputs(types, kind="wild")
