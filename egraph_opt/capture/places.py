# SPDX-License-Identifier: Apache-2.0
"""Which user line and named scope an equation comes from.

JAX keeps one traced jaxpr for all calls of an inner ``jit``, so the lines inside belong to its first caller. Where the
inner function is JAX's own (``jnp.trace``), the line of the call is used instead.
"""

from __future__ import annotations

import os
from typing import Any

import jax

from egraph_opt import _compat
from egraph_opt.ir import Source, Sources

_JAX = os.path.dirname(jax.__file__) + os.sep  # noqa: PTH120  (compared as text)


class Places:
    """Finds sources and remembers one traceback per source; lookups are memoised, they would dominate capture."""

    def __init__(self) -> None:
        self.tracebacks: dict[Source, Any] = {}
        self._lines: dict[int, tuple[str, int] | None] = {}
        self._scopes: dict[Any, str] = {}
        self._sources: dict[tuple[int, str], Sources] = {}

    def find(self, info: Any, scope: str) -> Sources:
        """Sources of an equation.

        Args:
            info: the equation's ``source_info``.
            scope: named scopes around the jaxpr in which it stands.
        """
        inner = self.scope(info.name_stack)
        path = f"{scope}/{inner}" if scope and inner else scope or inner
        key = (id(info.traceback), path)
        known = self._sources.get(key)
        if known is None:
            line = self._line(info.traceback)
            known = () if line is None else (Source(line[0], line[1], path),)
            if known:
                self.tracebacks.setdefault(known[0], info.traceback)
            self._sources[key] = known
        return known

    def scope(self, name_stack: Any) -> str:
        """Text of a name stack."""
        text = self._scopes.get(name_stack)
        if text is None:
            text = self._scopes[name_stack] = str(name_stack)
        return text

    def _line(self, traceback: Any) -> tuple[str, int] | None:
        # Keyed by identity: the jaxpr keeps its tracebacks alive as long as this object is in use.
        key = id(traceback)
        if key not in self._lines:
            self._lines[key] = _compat.user_line(traceback)
        return self._lines[key]


def function_place(jaxpr: Any) -> tuple[str, str]:
    """Name and file of the Python function that a jaxpr was traced from; empty where JAX does not tell."""
    info: Any = jaxpr.debug_info
    text = str(info.func_src_info or "") if info is not None else ""
    name, _, place = text.partition(" at ")
    return name, place.rpartition(":")[0]


def is_jax_internal(file: str) -> bool:
    """Whether a file belongs to JAX itself."""
    return file.startswith(_JAX)
