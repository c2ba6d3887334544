# SPDX-License-Identifier: Apache-2.0
"""Rules made of functions are checked like any other: true ones pass in every spelling, false ones do not."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import jax
import jax.numpy as jnp
import pytest

import egraph_opt
from egraph_opt.cli import main
from egraph_opt.rules.check.run import check_rule


def convolved(x: Any, w: Any) -> Any:
    return jax.lax.conv_general_dilated(x, w, (1,), [(1, 1)], dimension_numbers=("NCH", "OIH", "NCH"))


TRUE: dict[str, tuple[Callable[..., Any], Callable[..., Any], dict[str, Any]]] = {
    "associative": (lambda a, b, c: (a @ b) @ c, lambda a, b, c: a @ (b @ c), {}),
    "trace": (lambda a, b: jnp.trace(a @ b), lambda a, b: jnp.sum(a * b.T), {}),
    "exponentials": (lambda a, b: jnp.exp(a) * jnp.exp(b), lambda a, b: jnp.exp(a + b), {"shapes": "... n"}),
    "maximum": (lambda x: jnp.max(-x), lambda x: -jnp.min(x), {}),
    "mean": (lambda x: jnp.mean(x), lambda x, n: jnp.sum(x) * (1 / n), {"where": {"n": lambda x: x.size}}),
    "condition": (lambda a, b: a @ (b @ b), lambda a, b: (a @ b) @ b, {"when": lambda a, b: a.shape[0] < b.shape[0]}),
    "part": (lambda x, y: jnp.concatenate([x, y])[: x.shape[0]], lambda x, y: x, {"numerics": "exact"}),
    "relu": (lambda x: jax.nn.relu(jax.nn.relu(x)), lambda x: jax.nn.relu(x), {"numerics": "exact"}),
    "logsumexp": (
        lambda x: jnp.log(jnp.sum(jnp.exp(x))),
        lambda x: jax.nn.logsumexp(x),
        {"shapes": "n", "numerics": "finite"},
    ),
    "masked": (
        lambda m, x: jnp.exp(jnp.where(m, x, -jnp.inf)),
        lambda m, x: jnp.where(m, jnp.exp(x), 0.0),
        {"shapes": "n", "dtypes": {"m": "bool"}, "numerics": "finite"},
    ),
    "product of powers": (
        lambda x, y: x**y * x**y,
        lambda x, y: x ** (2 * y),
        {"shapes": "n", "numerics": "finite"},
    ),
    "variance": (
        lambda x: jnp.mean((x - jnp.mean(x)) ** 2),
        lambda x: jnp.mean(x**2) - jnp.mean(x) ** 2,
        {"shapes": "n"},
    ),
    "shifted softmax": (
        lambda x, c: jax.nn.softmax(x + c, -1),
        lambda x, c: jax.nn.softmax(x, -1),
        {"shapes": {"x": "n k", "c": ""}, "numerics": "finite"},
    ),
    "exchanged branches": (
        lambda c, x, y: jnp.where(~c, x, y),
        lambda c, x, y: jnp.where(c, y, x),
        {"dtypes": {"c": "bool"}, "numerics": "exact"},
    ),
    "inverse": (
        lambda a, b: jnp.linalg.inv(a) @ b,
        lambda a, b: jnp.linalg.solve(a, b),
        {"shapes": ["n n", "n k"], "numerics": "finite"},
    ),
    "negative signal": (
        lambda x, w: convolved(-x, w),
        lambda x, w: -convolved(x, w),
        {"shapes": {"x": "b c n", "w": "o c k"}},
    ),
    "a variable drops out": (lambda x, y: (x ^ y) ^ y, lambda x, y: x, {"numerics": "exact", "dtypes": ["uint8"]}),
    "sum of squares over n - 1": (
        lambda x: jnp.sum(x * x) / (x.shape[0] - 1),
        lambda x, n: jnp.sum(x * x) * n,
        {"shapes": "n", "where": {"n": lambda x: 1 / (x.shape[0] - 1)}, "numerics": "finite"},
    ),
}

FALSE: dict[str, tuple[Callable[..., Any], Callable[..., Any], dict[str, Any]]] = {
    "commuted": (lambda a, b: a @ b, lambda a, b: b @ a, {}),
    "missing transpose": (lambda a, b: jnp.trace(a @ b), lambda a, b: jnp.sum(a * b), {}),
    "product of exponents": (lambda a, b: jnp.exp(a) * jnp.exp(b), lambda a, b: jnp.exp(a * b), {}),
    "sign": (lambda x: jnp.max(-x), lambda x: jnp.min(x), {}),
    "wrong axis": (lambda a, b: jnp.sum(a @ b, axis=0), lambda a, b: jnp.sum(a, axis=1) @ b, {"shapes": "n n"}),
    "square root": (lambda x: jnp.sqrt(x * x), lambda x: x, {}),
    "other part": (lambda x, y: jnp.concatenate([x, y])[: x.shape[0]], lambda x, y: y, {"shapes": "n k"}),
    "reversed sum": (lambda x: jnp.cumsum(jnp.flip(x)), lambda x: jnp.flip(jnp.cumsum(x)), {"shapes": "n"}),
    "halved": (lambda x: jnp.mean(x), lambda x, n: jnp.sum(x) / n, {"where": {"n": lambda x: 2 * x.size}}),
    "determinant of the negative": (lambda a: jnp.linalg.det(-a), lambda a: jnp.linalg.det(a), {"shapes": "n n"}),
    "transposed system": (
        lambda a, b: jnp.linalg.solve(a.T, b),
        lambda a, b: jnp.linalg.solve(a, b),
        {"shapes": ["n n", "n k"], "numerics": "finite"},
    ),
    "masked": (
        lambda m, x: jnp.exp(jnp.where(m, x, -jnp.inf)),
        lambda m, x: jnp.where(m, jnp.exp(-x), 0.0),
        {"shapes": "n", "dtypes": {"m": "bool"}, "numerics": "finite"},
    ),
    "last of the largest": (
        lambda x: x.shape[0] - 1 - jnp.argmax(x[::-1]),
        lambda x: jnp.argmax(x),
        {"shapes": "n", "numerics": "exact", "dtypes": ["float32"]},
    ),
    "squares of segments": (
        lambda x, i: jax.ops.segment_sum(x * x, i, 4),
        lambda x, i: jax.ops.segment_sum(x, i, 4) ** 2,
        {"shapes": "n", "dtypes": {"i": "int32"}},
    ),
    "scaled sum": (lambda x: jnp.sum(x * 2.5), lambda x: 2.5 * jnp.sum(x), {"shapes": "n", "numerics": "exact"}),
    "turned kernel": (
        lambda x, w: convolved(x, w),
        lambda x, w: convolved(x, jnp.flip(w, 2)),
        {"shapes": {"x": "b c n", "w": "o c k"}},
    ),
    "not exact": (lambda a, b, c: (a + b) + c, lambda a, b, c: a + (b + c), {"numerics": "exact"}),
}


def rule(case: Any) -> Any:
    left, right, options = case
    return egraph_opt.rule(**{"name": "under-test", "numerics": "reassociate", **options})(left, right)


def test_a_left_side_that_has_no_value_is_refused() -> None:
    made = rule((lambda x: jnp.log(-jnp.exp(x)), lambda x: x, {"shapes": "n", "numerics": "finite"}))
    for verdict in made.check():
        assert verdict.problem.startswith("nothing to judge by"), verdict


@pytest.mark.alike
@pytest.mark.parametrize("case", TRUE.values(), ids=TRUE.keys())
def test_true(case: Any) -> None:
    for verdict in rule(case).check():
        assert verdict.passed, verdict
        assert verdict.matches >= 20


@pytest.mark.alike
@pytest.mark.parametrize("case", FALSE.values(), ids=FALSE.keys())
def test_false(case: Any) -> None:
    verdicts = rule(case).check()
    assert any(not verdict.passed and verdict.counterexample is not None for verdict in verdicts), verdicts


def test_constants_are_of_the_types_of_what_they_meet() -> None:
    """A remainder compares with a constant that is a truth value; there are many spellings of it."""
    made = rule((lambda x: jnp.mod(x + 3.0, 3.0), lambda x: x, {"shapes": "n"}))
    assert "False" in made.text
    assert check_rule(made.rules[0]).counterexample is not None


def test_a_checked_rule_is_let_in(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    made = rule(TRUE["maximum"])
    with pytest.raises(egraph_opt.errors.RuleError, match="was never checked"):
        egraph_opt.optimize(lambda x: jnp.max(-x), rules=made)
    assert all(verdict.passed for verdict in made.check())
    egraph_opt.optimize(lambda x: jnp.max(-x), rules=made)


def test_a_python_file_is_checked(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    file = tmp_path / "mine.py"
    file.write_text(
        "import jax.numpy as jnp\nfrom egraph_opt import rule\n"
        'good = rule(name="twice", numerics="exact")(lambda x: jnp.abs(jnp.abs(x)), lambda x: jnp.abs(x))\n'
        'bad = rule(name="never", numerics="exact")(lambda x: jnp.abs(-x), lambda x: -jnp.abs(x))\n'
    )
    assert main(["rules", "check", str(file)]) == 1
    out = capsys.readouterr().out
    assert "mine.py:3: rule 'twice': ok" in out
    assert "mine.py:4: rule 'never': refused" in out


def test_a_rule_whose_variables_all_have_their_own_type() -> None:
    """What is above the range gives a row of zeros: the rule is false, and said to be, not malformed."""
    made = egraph_opt.rule(name="rows-of-one-hot", numerics="exact", shapes="n", dtypes={"i": "int32"})(
        lambda i: jax.nn.one_hot(i, 4).sum(-1), lambda i: jnp.ones(i.shape)
    )
    assert "?dtype" not in made.text
    assert all(verdict.counterexample is not None for verdict in made.check())
