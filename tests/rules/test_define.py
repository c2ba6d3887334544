# SPDX-License-Identifier: Apache-2.0
"""Rules made of two JAX functions: each fires where the shipped rules do nothing; faults name the line."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from jax import lax

import egraph_opt
from egraph_opt import RuleSet
from egraph_opt.engine.rule import parse_rules
from egraph_opt.errors import RuleError
from egraph_opt.rules.define.function_rule import FunctionRule

THEMES = ("normalize", "contract", "distribute", "layout", "prepare")
PLAIN = RuleSet(tuple(r for r in RuleSet.shipped() if r.ruleset in THEMES))
"""Shipped rules that know nothing of elementwise functions."""

RANDOM = np.random.default_rng(0)


def array(*shape: int) -> jax.Array:
    return jnp.asarray(RANDOM.uniform(0.5, 2.0, shape), jnp.float32)


def rule(left: Callable[..., Any], right: Callable[..., Any], **options: Any) -> FunctionRule:
    return egraph_opt.rule(**{"name": "under-test", "numerics": "reassociate", **options})(left, right)


def fired(program: Callable[..., Any], args: tuple[Any, ...], rules: RuleSet, numerics: str = "reassociate") -> Any:
    result = egraph_opt.optimize(
        program, rules=rules, numerics=numerics, unchecked=True, cost="flops", measure=False, budget=10.0
    ).plan(*args)
    np.testing.assert_allclose(result(*args), program(*args), rtol=2e-4, atol=1e-5)
    return result


CASES: dict[str, tuple[Callable[..., Any], Callable[..., Any], Callable[..., Any], list[tuple[int, ...]], Any]] = {
    "exponentials": (
        lambda a, b: jnp.exp(a) * jnp.exp(b),
        lambda a, b: jnp.exp(a + b),
        lambda a, b: jnp.exp(a) * jnp.exp(b.T),
        [(3, 4), (4, 3)],
        {},
    ),
    "any rank": (
        lambda a, b: jnp.exp(a) * jnp.exp(b),
        lambda a, b: jnp.exp(a + b),
        lambda a, b: jnp.exp(a) * jnp.exp(b),
        [(2, 3, 4), (2, 3, 4)],
        {"shapes": "..."},
    ),
    "logarithm": (lambda x: jnp.log(jnp.exp(x)), lambda x: x, lambda x: jnp.log(jnp.exp(x + 1)), [(3, 4, 5)], {}),
    "extremes": (
        lambda x: jnp.max(-x),
        lambda x: -jnp.min(x),
        lambda x: jnp.max(-x) + jnp.min(x),
        [(3, 4)],
        {},
    ),
    "sigmoid": (
        lambda x: 1 / (1 + jnp.exp(-x)),
        lambda x: jax.nn.sigmoid(x),
        lambda x: 1 / (1 + jnp.exp(-x)),
        [(3, 4)],
        {"numerics": "finite"},
    ),
    "Pythagoras": (
        lambda x: jnp.sin(x) ** 2 + jnp.cos(x) ** 2,
        lambda x: jnp.ones_like(x),
        lambda x: jnp.cos(x) ** 2 + jnp.sin(x) ** 2,
        [(3, 4)],
        {},
    ),
    "ratio": (
        lambda a, b: jnp.log(a) - jnp.log(b),
        lambda a, b: jnp.log(a / b),
        lambda a, b: jnp.log(a) - jnp.log(b),
        [(3, 4), (3, 4)],
        {"numerics": "finite"},
    ),
    "square root": (
        lambda x: jnp.sqrt(x) * jnp.sqrt(x),
        lambda x: x,
        lambda x: jnp.sqrt(x) ** 2,
        [(3, 4)],
        {},
    ),
    "shifted softmax": (
        lambda x, c: jax.nn.softmax(x + c, -1),
        lambda x, c: jax.nn.softmax(x, -1),
        lambda x, c: jax.nn.softmax(x + c, -1) * 2,
        [(3, 4), ()],
        {"shapes": {"x": "n k", "c": ""}, "numerics": "finite"},
    ),
    "exchanged branches": (
        lambda c, x, y: jnp.where(~c, x, y),
        lambda c, x, y: jnp.where(c, y, x),
        lambda x, y: jnp.where(~(x > y), x, y.T.T),
        [(3, 4), (3, 4)],
        {"dtypes": {"c": "bool"}, "numerics": "exact"},
    ),
    "softmax": (
        lambda x: jnp.log(jnp.exp(x) / jnp.sum(jnp.exp(x))),
        lambda x: x - jax.nn.logsumexp(x),
        lambda x: jnp.log(jnp.exp(x) / jnp.sum(jnp.exp(x))),
        [(6,)],
        {"shapes": "n", "numerics": "finite"},
    ),
}


@pytest.mark.alike
@pytest.mark.parametrize("case", CASES.values(), ids=CASES.keys())
def test_fires_where_shipped_rules_do_not(case: Any) -> None:
    left, right, program, shapes, options = case
    made = rule(left, right, **options)
    args = tuple(array(*shape) for shape in shapes)
    numerics = options.get("numerics", "reassociate")
    without = fired(program, args, PLAIN, numerics)
    result = fired(program, args, PLAIN + RuleSet(made.rules), numerics)
    assert "under-test" in result.report.rules_fired
    assert str(result.after) != str(without.after)


@pytest.mark.parametrize(
    "program",
    [
        lambda a, b, c: (a @ b) @ c,
        lambda a, b, c: (c.T @ (b.T @ a.T)).T,
        lambda a, b, c: jnp.einsum("jk,kl->lj", a @ b, c).T,
    ],
)
def test_products_match_in_every_spelling(program: Callable[..., Any]) -> None:
    made = rule(lambda a, b, c: (a @ b) @ c, lambda a, b, c: a @ (b @ c))
    args = (array(30, 20), array(20, 25), array(25, 2))
    normal = RuleSet(tuple(r for r in RuleSet.shipped() if r.ruleset == "normalize"))
    result = fired(program, args, normal + RuleSet(made.rules))
    assert result.report.flops_after == 2 * 20 * 25 * 2 + 2 * 30 * 20 * 2
    assert "under-test" in result.report.rules_fired


def test_trace_of_a_product() -> None:
    made = rule(lambda a, b: jnp.trace(a @ b), lambda a, b: jnp.sum(a * b.T))
    normal = RuleSet(tuple(r for r in RuleSet.shipped() if r.ruleset == "normalize"))
    result = fired(lambda a, b: jnp.trace(b @ a.T) + 3, (array(30, 20), array(30, 20)), normal + RuleSet(made.rules))
    assert result.report.flops_after < 3 * 30 * 20
    assert "under-test" in result.report.rules_fired


def test_a_condition_sees_the_types() -> None:
    made = rule(lambda a, b: (a @ b) @ b, lambda a, b: a @ (b @ b), when=lambda a, b: a.shape[0] > b.shape[0])
    shipped = RuleSet.shipped().without(r.name for r in RuleSet.shipped() if r.name.startswith("regroup"))
    program = lambda a, b: (a @ b) @ b  # noqa: E731
    tall, wide = (
        fired(program, (array(n, 20), array(20, 20)), shipped + RuleSet(made.rules)).search.saturation.rules
        for n in (200, 5)
    )
    assert sum(tall[r.name].matches for r in made.rules if r.name in tall)
    assert not sum(wide[r.name].matches for r in made.rules if r.name in wide)


def test_a_number_of_the_sizes() -> None:
    made = rule(lambda x: jnp.mean(x), lambda x, n: jnp.sum(x) * (1 / n), where={"n": lambda x: x.size})
    assert "(is-value ?k1 ?m1 " in made.text
    assert "|1.0/(n*k)" in made.text
    result = fired(lambda x: jnp.mean(x), (array(3, 4),), RuleSet(made.rules))
    assert all("div" not in c.graph.op_counts() for c in result.search.candidates[:1])


def test_the_text_is_the_rule() -> None:
    made = rule(lambda a, b: jnp.exp(a) * jnp.exp(b), lambda a, b: jnp.exp(a + b), name="sum-of-exponents")
    assert made.text.startswith(";; jnp.exp(a) * jnp.exp(b) = jnp.exp(a + b)\n;; numerics: reassociate\n")
    again = parse_rules(made.text, "pack.egg")
    assert [(r.name, r.facts, r.actions) for r in again] == [(r.name, r.facts, r.actions) for r in made.rules]
    assert again[0].name == "sum-of-exponents"
    assert made.rules[0].path == __file__


def test_sizes_are_as_different_as_fits() -> None:
    chain = rule(lambda a, b, c: (a @ b) @ c, lambda a, b, c: a @ (b @ c))
    assert chain.shapes == ({"a": ("n", "k"), "b": ("k", "m"), "c": ("m", "l")},)
    declared = rule(lambda a, b: a @ b, lambda a, b: (b.T @ a.T).T + 0 * (a @ b), shapes={"a": "p q", "b": "q r"})
    assert declared.shapes == ({"a": ("p", "q"), "b": ("q", "r")},)
    examples = [jnp.zeros((2, 3)), jax.ShapeDtypeStruct((3, 5), "float32")]
    assert rule(lambda a, b: jnp.exp(a @ b), lambda a, b: jnp.exp(a @ b) + 0 * (a @ b), shapes=examples).shapes == (
        {"a": ("n", "k"), "b": ("k", "m")},
    )
    assert len(rule(lambda x: jnp.exp(-x) + x, lambda x: 1 / jnp.exp(x) + x, shapes="... n").shapes) == 3


def test_element_types_are_those_of_equal_text() -> None:
    assert set(rule(lambda x: jnp.log(jnp.exp(x)), lambda x: x).dtypes) >= {"float32", "float64", "bfloat16"}
    logarithm = rule(lambda x: jnp.log(jnp.exp(x)), lambda x: x)
    assert not {"int32", "complex64"} & set(logarithm.dtypes), "the law is one of real numbers"
    assert "uint8" not in rule(lambda x: jnp.max(-x), lambda x: -jnp.min(x)).dtypes, "unsigned integers wrap around"
    assert rule(lambda x: jnp.log(jnp.exp(x)), lambda x: x, dtypes=["float32"]).dtypes == ("float32",)
    turned = rule(lambda x: jnp.flip(x[1:], 0), lambda x: jnp.flip(x, 0)[:-1], shapes="n")
    assert {"int32", "bool"} <= set(turned.dtypes)


closed = jnp.ones((3, 3))


@pytest.mark.parametrize(
    ("left", "right", "options", "message"),
    [
        (lambda a, b: a @ b, lambda a, c: a @ c, {}, "'c' is free on the right"),
        (lambda a, b: a @ b, lambda a, b: b @ a, {"shapes": ["n k", "k m"]}, "the right side fails on float32 a[n,k]"),
        (lambda a: a @ a.T, lambda a: a.T @ a, {"shapes": "n k"}, "the sides have different types on"),
        (lambda a: jnp.exp(a), lambda a: jnp.exp(a) > 0, {}, "float32[11, 11] and bool[11, 11]"),
        (lambda a: a, lambda a: a * 1, {}, "the left side is one variable only"),
        (lambda a, b: jnp.exp(a), lambda a, b: jnp.exp(a) + 0 * b, {}, "does not depend on 'b'"),
        (lambda a, b: a + b, lambda a, b: b + a, {}, "both sides are the same program"),
        (lambda a: jnp.exp(a) @ closed, lambda a: jnp.exp(a @ closed), {"shapes": "n k"}, "the left side fails on"),
        (lambda a: jnp.exp(a).sum() * closed, lambda a: closed, {}, "reads an array from outside"),
        (lambda a: (a, a), lambda a: a, {}, "returns tuple; want one array"),
        (lambda *a: a[0], lambda *a: a[0], {}, "want plain parameters"),
        (lambda a: jnp.exp(a), lambda a: a, {"name": "Not Kebab"}, "not kebab-case"),
        (lambda a: jnp.exp(a), lambda a: a, {"numerics": "roughly"}, "want 'exact', 'reassociate' or 'finite'"),
        (lambda a: jnp.exp(a), lambda a: -a, {"shapes": {"b": "n"}}, "there is no variable 'b'"),
        (lambda a: jnp.exp(a), lambda a: -a, {"shapes": "n 3"}, "want names of sizes"),
        (lambda a: jnp.exp(a), lambda a: -a, {"dtypes": {"b": "bool"}}, "dtypes: there is no variable 'b'"),
        (lambda a: jnp.exp(a), lambda a: -a, {"dtypes": {"a": "real"}}, "dtypes: 'real' is no element type"),
        (lambda a: jnp.exp(a), lambda a: -a, {"dtypes": ["real"]}, "dtypes: 'real' is no element type"),
        (
            lambda a: jnp.exp(a),
            lambda a: -a,
            {"dtypes": "float23"},
            "'float23' is no element type; did you mean float32",
        ),
        (lambda a: jnp.exp(a) + nowhere, lambda a: a, {}, "the left side fails: name 'nowhere' is not defined"),  # type: ignore[name-defined]  # noqa: F821
        (lambda a: jnp.exp(a), lambda a: -a, {"when": lambda a, b: True}, "when= takes a, b; want a, as the left side"),
        (
            lambda a: jnp.exp(a),
            lambda a: -a,
            {"when": lambda a: 1 / 0},
            "when= of 'under-test' fails: ZeroDivisionError",
        ),
        (
            lambda a: jnp.exp(a),
            lambda a, n: jnp.exp(a) * n,
            {"shapes": "n", "where": {"n": lambda a: a.size**2 + 1}},
            "a factor of 122 where n=11 is no simple expression; want a number times or over sizes, as in 1/n",
        ),
        (lambda a: jnp.linalg.eigh(a)[1], lambda a: -a, {}, "'eigh', an operation with several results, cannot stand"),
        (lambda a: jnp.linalg.qr(a)[0], lambda a: -a, {}, "'qr', an operation with several results, cannot stand"),
        (lambda a: jnp.exp(a), lambda a: lax.top_k(a, 1)[0] * a, {}, "'top_k', an operation with several results,"),
        (lambda a: lax.fori_loop(0, 3, lambda i, c: c * 2, a), lambda a: 8 * a, {}, "a loop (scan) cannot stand"),
        (lambda a: lax.while_loop(lambda c: c.sum() < 3, jnp.exp, a), lambda a: -a, {}, "a loop (while) cannot stand"),
        (lambda a: lax.cond(a.sum() > 0, jnp.exp, jnp.sin, a), lambda a: -a, {}, "a branch (cond) cannot stand"),
        (lambda a: a + jax.random.normal(jax.random.key(0), a.shape), lambda a: a, {}, "which has no op, cannot stand"),
    ],
)
def test_refused_at_definition(left: Any, right: Any, options: dict[str, Any], message: str) -> None:
    with pytest.raises(RuleError) as caught:
        rule(left, right, **options)
    text = str(caught.value)
    assert message in text
    assert text.startswith(f"{__file__}:{left.__code__.co_firstlineno}: rule ")
    assert "\n" not in text


def test_what_is_no_function_is_refused_at_the_place_of_the_call() -> None:
    with pytest.raises(RuleError) as caught:
        rule(3, lambda a: a)
    assert str(caught.value).startswith(f"{__file__}:")
    assert "want two functions, got int" in str(caught.value)
