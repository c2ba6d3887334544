# SPDX-License-Identifier: Apache-2.0
"""Reader of s-expressions with places: rule files as data.

The loader looks at rules before egglog does (attribute functions, provenance, the comment block above a rule), so it
reads the text itself: atoms are strings, lists are tuples that know their line.
"""

from __future__ import annotations

import re
from collections.abc import Iterator

from egraph_opt.errors import RuleError

_TOKEN = re.compile(r"""\s*(?:(;[^\n]*)|([()])|("(?:[^"\\]|\\.)*")|([^\s()";]+))""")


class Form(tuple["Form | str", ...]):
    """A list of an s-expression, with the line of its opening parenthesis."""

    line: int

    def __new__(cls, items: tuple[Form | str, ...], line: int = 0) -> Form:
        """Make a form at a line."""
        form = super().__new__(cls, items)
        form.line = line
        return form

    def __str__(self) -> str:
        return f"({' '.join(map(str, self))})"


Expr = Form | str

DEEPEST = 100
"""Parentheses in parentheses that are read: no rule needs more, and Python's stack ends."""


def read(text: str, path: str) -> list[Form]:
    """Top-level forms of a file.

    Raises:
        RuleError: parentheses do not match, or an atom stands outside a form.
    """
    forms: list[Form] = []
    stack: list[tuple[int, list[Expr]]] = []
    for line, token in _tokens(text, path):
        if token == "(":
            stack.append((line, []))
            if len(stack) > DEEPEST:
                raise RuleError(
                    f"{path}:{line}: more than {DEEPEST} '(' inside each other; want a pattern of a few terms"
                )
        elif token == ")":
            if not stack:
                raise RuleError(f"{path}:{line}: ')' closes nothing; remove it")
            start, items = stack.pop()
            form = Form(tuple(items), start)
            if stack:
                stack[-1][1].append(form)
            else:
                forms.append(form)
        elif stack:
            stack[-1][1].append(token)
        else:
            raise RuleError(f"{path}:{line}: {token!r} stands outside a form; want '(rewrite ...)' or '(rule ...)'")
    if stack:
        raise RuleError(f"{path}:{stack[0][0]}: this '(' is never closed")
    return forms


def _tokens(text: str, path: str) -> Iterator[tuple[int, str]]:
    position, line = 0, 1
    while position < len(text):
        match = _TOKEN.match(text, position)
        if not match:
            if text[position:].strip():
                raise RuleError(f"{path}:{line}: {text[position:].strip()[:20]!r} is not readable (an open string?)")
            return
        token = match.group(2) or match.group(3) or match.group(4)
        start = match.start(match.lastindex or 0)
        line += text.count("\n", position, start)
        if token:
            yield line, token
        line += text.count("\n", start, match.end())
        position = match.end()


def variables(expr: Expr) -> set[str]:
    """Names of the pattern variables (``?x``) in an expression."""
    if isinstance(expr, str):
        return {expr} if expr.startswith("?") else set()
    return {name for item in expr for name in variables(item)}


def heads(expr: Expr) -> Iterator[str]:
    """First atoms of all forms in an expression."""
    if isinstance(expr, Form) and expr:
        if isinstance(expr[0], str):
            yield expr[0]
        for item in expr:
            yield from heads(item)


def rename(expr: Expr, table: dict[str, str]) -> Expr:
    """The expression with pattern variables numbered by first appearance (``table`` collects the names)."""
    if isinstance(expr, str):
        return table.setdefault(expr, f"?v{len(table)}") if expr.startswith("?") else expr
    return Form(tuple(rename(item, table) for item in expr), expr.line)
