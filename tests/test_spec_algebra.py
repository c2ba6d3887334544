# SPDX-License-Identifier: Apache-2.0
"""The algebra of specs against numpy.einsum: random letters, diagonals, broadcasts, sums, exact integers."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from egraph_opt.errors import GraphError
from egraph_opt.ir.reshapes import parse_shape, shape_text, split_groups, split_result
from egraph_opt.ir.spec import Spec, canonical, identity
from egraph_opt.ir.spec_algebra import (
    Pure,
    absorb,
    compose,
    compose_product,
    inverse,
    purify,
    regroup,
    relate,
    shrinks,
    swap,
)

SIZES = {"a": 2, "b": 3, "c": 2, "d": 1, "e": 4}
FACTORS = {1: [()], 2: [(2,)], 3: [(3,)], 4: [(4,), (2, 2)]}
WORD = st.text("abcde", max_size=3)
SCALE = st.sampled_from([1, -1, 2, 3, -4])


def evaluate(text: str, *operands: Any) -> Any:
    """Value of a spec, by the definition: a sum over all letters."""
    spec = Spec.parse(text)
    letters = list(spec.sizes)
    result = np.zeros(spec.shape, np.int64)
    for index in np.ndindex(*(spec.sizes[c] for c in letters)):
        at = dict(zip(letters, index, strict=True))
        factors = [x[tuple(at[c] for c in word)] for x, word in zip(operands, spec.inputs, strict=True)]
        result[tuple(at[c] for c in spec.output)] += spec.scale * int(np.prod(factors))
    return result


def tensor(shape: tuple[int, ...], seed: int = 0) -> Any:
    return np.random.default_rng(seed).integers(-3, 4, shape)


def run_pure(pure: Pure, x: Any, y: Any) -> Any:
    x = evaluate(pure.before_x, x) if pure.before_x else x
    y = evaluate(pure.before_y, y) if pure.before_y else y
    core = evaluate(pure.core, x, y)
    return evaluate(pure.post, core) if pure.post else core


@st.composite
def unary(draw: Any, shape: tuple[int, ...] | None = None) -> str:
    """A one-operand spec, of an operand of the given shape."""
    if shape is None:
        word = draw(WORD)
        sizes = SIZES
    else:
        names = "pqrstu"[: len(shape)]
        word = "".join(draw(st.sampled_from([c for j, c in enumerate(names) if shape[j] == n])) for n in shape)
        sizes = {**SIZES, **dict(zip(names, shape, strict=True))}
    output = draw(st.text(sorted(set(word) | {"a", "b"}), max_size=4))
    return canonical([word], output, sizes, draw(SCALE))


@st.composite
def product(draw: Any) -> str:
    """A pure two-operand spec."""
    x, y = (draw(st.text("abcde", max_size=3).map(lambda w: "".join(dict.fromkeys(w)))) for _ in range(2))
    both = [c for c in dict.fromkeys(x + y) if c in x and c in y]
    dropped = set(draw(st.lists(st.sampled_from(both), unique=True))) if both else set()
    output = draw(st.permutations([c for c in dict.fromkeys(x + y) if c not in dropped]))
    return canonical([x, y], "".join(output), SIZES)


@given(st.data())
def test_compose(data: Any) -> None:
    inner = data.draw(unary())
    outer = data.draw(unary(Spec.parse(inner).shape))
    x = tensor(Spec.parse(inner).shapes[0])
    assert np.array_equal(evaluate(compose(outer, inner), x), evaluate(outer, evaluate(inner, x)))


@given(st.data())
def test_compose_with_a_product(data: Any) -> None:
    inner = data.draw(product())
    outer = data.draw(unary(Spec.parse(inner).shape))
    x, y = (tensor(shape, i) for i, shape in enumerate(Spec.parse(inner).shapes))
    pure = compose_product(outer, inner)
    assert Spec.parse(pure.core).is_pure
    assert np.array_equal(run_pure(pure, x, y), evaluate(outer, evaluate(inner, x, y)))


@given(st.data())
def test_absorb(data: Any) -> None:
    outer = data.draw(product())
    position = data.draw(st.integers(0, 1))
    shape = Spec.parse(outer).shapes[position]
    word = "".join(data.draw(st.sampled_from("abcde")) for _ in range(data.draw(st.integers(0, 3))))
    # An inner spec whose result has the operand's shape: letters by size, so that diagonals and broadcasts occur.
    letters = {n: [c for c in SIZES if SIZES[c] == n] or [f"{n}"] for n in shape}
    output = "".join(data.draw(st.sampled_from(letters[n])) for n in shape)
    inner = canonical([word], output, SIZES, data.draw(SCALE))
    z = tensor(Spec.parse(inner).shapes[0])
    other = tensor(Spec.parse(outer).shapes[1 - position], 1)
    value = evaluate(inner, z)
    want = evaluate(outer, *((value, other) if position == 0 else (other, value)))
    got = run_pure(absorb(outer, inner, position), *((z, other) if position == 0 else (other, z)))
    assert np.array_equal(got, want)


@given(product())
def test_swap(spec: str) -> None:
    x, y = (tensor(shape, i) for i, shape in enumerate(Spec.parse(spec).shapes))
    assert np.array_equal(evaluate(swap(spec), y, x), evaluate(spec, x, y))
    assert swap(swap(spec)) == spec


@given(st.data())
def test_relate(data: Any) -> None:
    spec = data.draw(product())
    parsed = Spec.parse(spec)
    other = canonical(parsed.inputs, "".join(data.draw(st.permutations(parsed.output))), parsed.sizes)
    link = relate(spec, other)
    if parsed.output == Spec.parse(other).output:
        assert link is None
        return
    x, y = (tensor(shape, i) for i, shape in enumerate(parsed.shapes))
    assert link is not None
    assert np.array_equal(evaluate(link, evaluate(spec, x, y)), evaluate(other, x, y))


@given(st.data())
def test_regroup(data: Any) -> None:
    inner = data.draw(product())
    shape = Spec.parse(inner).shape
    names = "pqrstu"[: len(shape)]
    sizes = {**SIZES, **dict(zip(names, shape, strict=True))}
    z_word = "".join(dict.fromkeys(data.draw(st.text([*names, "a", "b"], max_size=3))))
    both = [c for c in names if c in z_word]
    dropped = set(data.draw(st.lists(st.sampled_from(both), unique=True))) if both else set()
    output = "".join(c for c in dict.fromkeys(names + z_word) if c not in dropped)
    outer = canonical([names, z_word], output, sizes)
    position = data.draw(st.integers(0, 1))
    if position:
        outer = swap(outer)
    keep = data.draw(st.integers(0, 1))
    found = regroup(outer, inner, position, keep, 1e9)
    if found is None:
        return
    pair, rest = found
    x, y = (tensor(s, i) for i, s in enumerate(Spec.parse(inner).shapes))
    z = tensor(Spec.parse(outer).shapes[1 - position], 2)
    value = evaluate(inner, x, y)
    want = evaluate(outer, *((value, z) if position == 0 else (z, value)))
    paired, leaving = (y, x) if keep == 0 else (x, y)
    assert np.array_equal(evaluate(rest, leaving, evaluate(pair, paired, z)), want)


@given(st.lists(WORD, min_size=2, max_size=2), st.text("abcde", max_size=4), SCALE)
def test_purify(words: list[str], output: str, scale: int) -> None:
    spec = canonical(words, output, SIZES, scale)
    parsed = Spec.parse(spec)
    x, y = (tensor(shape, i) for i, shape in enumerate(parsed.shapes))
    pure = purify(parsed.inputs, parsed.output, parsed.sizes, parsed.scale)
    assert Spec.parse(pure.core).is_pure
    assert np.array_equal(run_pure(pure, x, y), evaluate(spec, x, y))


@given(st.data())
def test_split_result(data: Any) -> None:
    spec = data.draw(st.one_of(product(), unary()))
    parsed = Spec.parse(spec)
    groups = [data.draw(st.sampled_from(FACTORS[n])) for n in parsed.shape]
    shape = tuple(n for group in groups for n in group)
    found = split_result(spec, shape)
    if found is None:
        assert len(set(parsed.output)) < len(parsed.output), "only a written diagonal may be split in two ways"
        return
    operands = [tensor(s, i) for i, s in enumerate(parsed.shapes)]
    turned = [x.reshape(s) if s is not None else x for x, s in zip(operands, found.shapes, strict=True)]
    assert np.array_equal(evaluate(found.spec, *turned), evaluate(spec, *operands).reshape(shape))


def test_split_groups() -> None:
    assert split_groups((6, 4), (2, 3, 4)) == [(2, 3), (4,)]
    assert split_groups((6, 4), (24,)) is None, "merging is not splitting"
    assert split_groups((6,), (4,)) is None
    assert split_groups((), ()) == []
    assert parse_shape(shape_text((2, 3))) == (2, 3)
    assert parse_shape(shape_text(())) == ()


def test_a_factor_has_one_spelling() -> None:
    for first, second in (((5,), 7.0), ((5,), 7)), (((6,), 7), ((6,), 7.0)):  # whichever is asked for first
        assert identity(*first).partition("|")[2] == identity(*second).partition("|")[2] == "7"
    assert identity((5,), 1.0) == identity((5,))
    assert identity((5,), -1.0) == "a->a;5|-1"
    assert [identity((5,), k).partition("|")[2] for k in (0.0, -0.0, 0)] == ["0", "-0.0", "0"]
    assert identity((5,), 2.5) == "a->a;5|2.5"
    assert identity((5,), 1e300) == "a->a;5|1e+300"
    assert canonical(["ba"], "ab", {"a": 2, "b": 3}, 4.0) == "ab->ba;3,2|4"


def test_inverse() -> None:
    assert inverse("ab->ba;2,3") == "ab->ba;3,2"
    assert inverse("a->a;4|-2.0") == "a->a;4|-0.5"
    assert inverse("a->a;4|2") == "a->a;4|0.5"
    assert inverse("a->a;4|3") is None
    assert inverse("a->a;4|3.0") is None
    assert inverse("a->a;4|0") is None
    assert inverse("ab->a;2,3") is None
    assert inverse("a->aa;3") is None


def test_growth_guards() -> None:
    chain = "ab,bc->ac;128,128,128"
    assert regroup("ab,b->a;128,128", chain, 0, 0, 1.0) == ("ab,b->a;128,128", "ab,b->a;128,128")
    assert regroup("ab,b->a;128,128", chain, 0, 1, 1.0) is None, "the outer product of A and x would be larger"
    assert regroup("a,a->a;9", "a,a->a;9", 0, 0, 1.0) is None, "plain elementwise products are never regrouped"
    assert shrinks("ab,b->a;8,8", 0)
    assert not shrinks("ab,bc->ac;8,8,8", 0)


def test_text() -> None:
    assert str(Spec.parse("ab,bc->ac;2,3,4|-2.0")) == "ab,bc->ac;2,3,4|-2.0"
    assert canonical(["xy", "yz"], "xz", {"x": 2, "y": 3, "z": 4}) == "ab,bc->ac;2,3,4"
    assert identity((2, 3), 0.5) == "ab->ab;2,3|0.5"
    assert Spec.parse("ab,bc->ac;2,3,4").flops == 2 * 24
    assert Spec.parse("ab,ab->ab;2,3").flops == 6
    for text in ("ab", "ab,bc->ac", "a,b,c->abc;1,2,3", "ab->ba;2"):
        with pytest.raises(GraphError):
            Spec.parse(text)
