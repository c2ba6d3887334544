# SPDX-License-Identifier: Apache-2.0
"""What a rule made of functions says of itself: its law in the author's words, and where it stands."""

from __future__ import annotations

import ast
import inspect
import linecache
from collections.abc import Callable
from pathlib import Path
from typing import Any


def place_of(function: Callable[..., Any]) -> tuple[str, int]:
    """File and line of a function; of what calls this package where it is no function of Python."""
    code = getattr(inspect.unwrap(function), "__code__", None)
    if code is not None:
        return code.co_filename, code.co_firstlineno
    here = str(Path(__file__).parents[2])
    caller = next((frame for frame in inspect.stack(0) if not frame.filename.startswith(here)), None)
    return (caller.filename, caller.lineno) if caller is not None else (repr(function), 0)


def law_of(left: Callable[..., Any], right: Callable[..., Any], name: str) -> str:
    """``left = right`` in the author's own expressions, or the rule's name in words where they cannot be read."""
    sides = _body(left), _body(right)
    return " = ".join(map(str, sides)) if all(sides) else name.replace("-", " ")


def _body(function: Callable[..., Any]) -> str | None:
    """The expression that a lambda, or a function of one return, computes."""
    code = getattr(function, "__code__", None)
    if code is None:
        return None
    places = [tuple(map(int, p)) for p in code.co_positions() if None not in p and p[3]]
    if not places:
        return None
    # The instruction that returns knows where the expression stands; a lambda holds nothing beside it.
    span = places if function.__name__ == "<lambda>" else places[-1:]
    (first, start), (last, end) = min((p[0], p[2]) for p in span), max((p[1], p[3]) for p in span)
    if any(code.co_firstlineno < p[0] < first for p in places):
        return None
    lines = [linecache.getline(code.co_filename, n).encode() for n in range(first, last + 1)]
    lines[-1] = lines[-1][:end]
    lines[0] = lines[0][start:]
    text = b"".join(lines).decode(errors="replace").strip().removeprefix("return ")
    try:
        return ast.unparse(ast.parse(f"({text})", mode="eval").body)
    except SyntaxError:
        return None
