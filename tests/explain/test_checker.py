# SPDX-License-Identifier: Apache-2.0
"""What the checker takes for the same polynomial: sizes, letters, factors and ties of letters all count."""

from __future__ import annotations

from typing import Any

import pytest

from egraph_opt.explain.checker import CertificateError, Terms, verify

A = ["input", "index=0", [], ["float32[128,128]"]]
V = ["input", "index=1", [], ["float32[128]"]]
R = ["input", "index=2", [], ["float32[4,6]"]]
MATRIX, VECTOR, SCALAR = ["float32[128,128]"], ["float32[128]"], ["float32[]"]


def einsum(spec: str, args: list[int], types: list[str]) -> list[Any]:
    return ["einsum", spec, args, types]


SQUARE = einsum("ab,bc->ac;128,128,128", [0, 0], MATRIX)
TRACE = einsum("aa->;128", [0], SCALAR)
SPREAD = einsum("a->ab;128,128", [1], MATRIX)
EYE = einsum("->aa;128", [3], MATRIX)
FLAT = ["reshape", "24", [2], ["float32[24]"]]
ONE = ["constant", "float32 1.0", [], SCALAR]

TRUE = {
    "a sum over a copy": ([A, V, SPREAD], einsum("ab->a;128,128", [2], VECTOR), einsum("a->a;128|128", [1], VECTOR)),
    "a trace of ones": ([A, V, R, ONE, EYE], einsum("aa->;128", [4], SCALAR), einsum("->;|128.0", [3], SCALAR)),
    "the unit matrix": ([A, V, R, ONE, EYE], einsum("ab,bc->ac;128,128,128", [0, 4], MATRIX), None),
    "diagonals": (
        [A, V, R, ONE, EYE],
        einsum("ab,ab->ab;128,128", [0, 4], MATRIX),
        einsum("aa->aa;128", [0], MATRIX),
    ),
    "last digits": ([V], einsum("a->a;128|0.1", [0], VECTOR), einsum("a->a;128|0.10000000000000002", [0], VECTOR)),
    "reshaped twice": (
        [A, V, R, ["reshape", "24", [2], ["float32[24]"]]],
        ["reshape", "4,6", [3], ["float32[4,6]"]],
        2,
    ),
}
FALSE = {
    "a sum over another size": (
        [A, V, SPREAD],
        einsum("ab->a;128,128", [2], VECTOR),
        einsum("a->a;128|127", [1], VECTOR),
    ),
    "a trace of a size that stands for it": (
        [A, V, R, ONE, EYE],
        einsum("aa->;128", [4], SCALAR),
        einsum("->;|2", [3], SCALAR),
    ),
    "powers of matrices of order two": (
        # A A = tr(A) A - det(A) 1 for 2 x 2: 2 A A + tr(A) tr(A) 1 = 2 tr(A) A + tr(A A) 1
        [
            *(A, V, R, ONE, EYE, SQUARE, TRACE, einsum("aa->;128", [5], SCALAR)),
            *(einsum("ab->ab;128,128|2", [5], MATRIX), einsum(",->;", [6, 6], SCALAR)),
            *(einsum(",ab->ab;128,128", [9, 4], MATRIX), einsum(",ab->ab;128,128|2", [6, 0], MATRIX)),
            einsum(",ab->ab;128,128", [7, 4], MATRIX),
        ],
        ["add", "", [8, 10], MATRIX],
        ["add", "", [11, 12], MATRIX],
    ),
    "the other operand": (
        [A, V],
        einsum("ab,b->a;128,128", [0, 1], VECTOR),
        einsum("ab,a->b;128,128", [0, 1], VECTOR),
    ),
    "the whole for its diagonal": ([A, V, R, ONE, EYE], einsum("ab,ab->ab;128,128", [0, 4], MATRIX), 0),
    "digits that count": ([V], einsum("a->a;128|0.1", [0], VECTOR), einsum("a->a;128|0.10000000001", [0], VECTOR)),
    "a small term": (
        [A, V, einsum("ab->ba;128,128|1e-16", [0], MATRIX)],
        ["add", "", [0, 2], MATRIX],
        einsum("ab->ab;128,128", [0], MATRIX),
    ),
    "another type": ([A, V], einsum("ab->a;128,128", [0], ["float32[64]"]), einsum("a->a;64", [1], ["float32[64]"])),
    "a reshape that turns": (
        [A, V, R, FLAT, einsum("ab->ba;4,6", [2], ["float32[6,4]"])],
        ["reshape", "24", [4], ["float32[24]"]],
        3,
    ),
}


def sides(case: Any) -> tuple[Terms, dict[str, Any]]:
    rows, left, right = case
    table = [*rows, left, *([right] if isinstance(right, list) else [])]
    other = len(rows) + 1 if isinstance(right, list) else right or 0
    return Terms(table), {"kind": "sum", "left": len(rows), "right": other, "given": []}


@pytest.mark.parametrize("name", TRUE)
def test_equal_terms(name: str) -> None:
    terms, step = sides(TRUE[name])
    verify(terms, {}, step, "")


@pytest.mark.parametrize("name", FALSE)
def test_terms_that_differ(name: str) -> None:
    terms, step = sides(FALSE[name])
    with pytest.raises(CertificateError):
        verify(terms, {}, step, "")


@pytest.mark.parametrize(("given", "fits"), [([2], True), ([0, 1], True), ([2, 3], False)])
def test_equal_whatever_the_given_terms_are(given: list[int], fits: bool) -> None:
    table = [A, V, einsum("ab,b->a;128,128", [0, 1], VECTOR), einsum("ba,b->a;128,128", [0, 1], VECTOR)]
    table += [["add", "", [2, 3], VECTOR], ["add", "", [3, 2], VECTOR], einsum("a->a;128", [2], VECTOR)]
    verify(Terms(table), {}, {"kind": "sum", "left": 4, "right": 5, "given": given}, "")
    step = {"kind": "sum", "left": 6, "right": 2 if fits else 3, "given": given}
    if fits:
        verify(Terms(table), {}, step, "")
    else:
        with pytest.raises(CertificateError, match="different polynomials"):
            verify(Terms(table), {}, step, "")
