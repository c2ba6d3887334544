# SPDX-License-Identifier: Apache-2.0
"""What a rule made of functions says of itself: its law in the author's words, and where it stands."""

from __future__ import annotations

import ast
import inspect
import textwrap
from collections.abc import Callable
from typing import Any


def place_of(function: Callable[..., Any]) -> tuple[str, int]:
    """File and line of a function."""
    code = getattr(inspect.unwrap(function), "__code__", None)
    return (code.co_filename, code.co_firstlineno) if code is not None else (repr(function), 0)


def law_of(left: Callable[..., Any], right: Callable[..., Any], name: str) -> str:
    """``left = right`` in the author's own expressions, or the rule's name in words where they cannot be read."""
    sides = _body(left), _body(right)
    return " = ".join(map(str, sides)) if all(sides) else name.replace("-", " ")


def _body(function: Callable[..., Any]) -> str | None:
    """The expression that a lambda, or a function of one return, computes."""
    try:
        lines, start = inspect.findsource(function)
    except (OSError, TypeError):
        return None
    names = list(inspect.signature(function).parameters)
    code = function.__code__
    for node in ast.walk(_parsed("".join(lines)) or ast.Module([], [])):
        if isinstance(node, ast.Lambda) and [a.arg for a in node.args.args] == names:
            place = next(iter(code.co_positions()), (None,) * 4)
            body = node.body
            columns = {(p[0], p[2]) for p in code.co_positions() if p[0] is not None}
            if (body.lineno, body.col_offset) in columns or (place[0] is None and node.lineno == start + 1):
                return ast.unparse(body)
        if isinstance(node, ast.FunctionDef) and node.name == function.__name__ and node.lineno == code.co_firstlineno:
            last = node.body[-1]
            if isinstance(last, ast.Return) and last.value is not None:
                return ast.unparse(last.value)
    return None


def _parsed(text: str) -> ast.Module | None:
    try:
        return ast.parse(textwrap.dedent(text))
    except SyntaxError:
        return None
