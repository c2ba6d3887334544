# SPDX-License-Identifier: Apache-2.0
"""Texts that a condition compares with: what can be no element type, shape, letters or factor never matches."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator, Mapping

from egraph_opt.engine.sexpr import Expr, Form
from egraph_opt.ir.reshapes import parse_shape, shape_text
from egraph_opt.ir.spec import canonical, one_spelling
from egraph_opt.ir.types import ELEMENT_TYPES
from egraph_opt.rules.lint.signatures import nearest

_LETTERS = re.compile(r"([a-z]*)(?:,([a-z]*))?->([a-z]*)")


def comparison_faults(expr: Expr) -> Iterator[tuple[int, str]]:
    """Lines and faults of texts that stand in an equation with what is known of a tensor or of a spec."""
    if not isinstance(expr, Form):
        return
    for item in expr:
        yield from comparison_faults(item)
    if len(expr) != 3 or expr[0] not in ("=", "!="):
        return
    for text, call in ((expr[1], expr[2]), (expr[2], expr[1])):
        if isinstance(text, str) and text.startswith('"') and isinstance(call, Form) and call:
            fault = _CHECKS.get(str(call[0]), _no_fault)(text.strip('"'))
            if fault:
                yield expr.line, f"({call[0]} ...) is never {text}: {fault}"


def _no_fault(text: str) -> str:
    del text
    return ""


def _dtype(text: str) -> str:
    return "" if text in ELEMENT_TYPES else f"there is no such element type{nearest(text, ELEMENT_TYPES)}"


def _shape(text: str) -> str:
    try:
        spelled = shape_text(parse_shape(text))
    except ValueError:
        return "want e.g. '4,5' or 'scalar'"
    return "" if spelled == text else f"it is spelled {spelled!r}"


def _letters(text: str) -> str:
    match = _LETTERS.fullmatch(text)
    if match is None:
        return "want e.g. 'ab,bc->ac', without sizes and factor"
    left, right, output = match.groups()
    inputs = [left] if right is None else [left, right]
    spelled = canonical(inputs, output, dict.fromkeys("".join((*inputs, output)), 2)).partition(";")[0]
    return "" if spelled == text else f"it is spelled {spelled!r}"


def _scale(text: str) -> str:
    try:
        spelled = repr(one_spelling(float(text)))
    except ValueError:
        return "want a number, as '2' or '-0.5'"
    return "" if spelled == text or text.lstrip("-").isdigit() else f"it is spelled {spelled!r}"


_CHECKS: Mapping[str, Callable[[str], str]] = {
    "dtype": _dtype,
    "shape": _shape,
    "letters": _letters,
    "scale-of": _scale,
}
