# SPDX-License-Identifier: Apache-2.0
"""The record of a kernel: a pattern in plain JAX, what it is found by, and the lowerings that may run it.

Shipped kernels stand in this folder, one file a family, and are listed in ``shipped``; users add theirs with
``register_kernel``. The pattern is what counts: it gives types, reference values, derivatives and the price without a
lowering, and a piece of program is the kernel where its values are the pattern's.
"""

from __future__ import annotations

import functools
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import jax
import numpy as np

from egraph_opt.capture import capture
from egraph_opt.ir import Builder, Graph, TensorType
from egraph_opt.ir.attrs import freeze
from egraph_opt.normalise import normalise
from egraph_opt.ops.kernel import Lowering, install, withdraw

Static = tuple[tuple[str, Any], ...]
Statics = Callable[[Sequence[float], Sequence[TensorType]], Iterable[Mapping[str, Any]]]

Draws = Callable[[Sequence[TensorType]], Iterable[Sequence[np.ndarray[Any, Any]]]]

SPREAD = "..."
"""The word that stands for any number of leading dimensions."""


def _no_static(scalars: Sequence[float], types: Sequence[TensorType]) -> Iterable[Mapping[str, Any]]:
    del scalars, types
    yield {}


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Kernel:
    """One kernel.

    Args:
        name: snake_case.
        pattern: ``pattern(*arrays, **static) -> array`` in plain JAX.
        shapes: sizes of each argument as names: ``"... n"``; equal names are equal sizes.
        result: the same of the result.
        lowerings: how it may run; none for an idiom that is only recognised.
        statics: which static keywords to try, given the scalar constants of a piece of program and its leaves' types.
        samples: static keywords with which it is tested; the first is that of ``result``.
        describe: what to say of static keywords; "" for nothing.
        doc: what it computes, in one line.
        user: whether a user registered it.
        families: of operations without which no piece is it; None to read them off the pattern.
        labels: which arguments are whole numbers of type int32 or int64; all others have the result's element type.
        draws: operands to compare a piece on; plain ones in the first. None for those of ``match``.
    """

    name: str
    pattern: Callable[..., Any]
    shapes: tuple[str, ...]
    result: str
    lowerings: tuple[Lowering, ...] = ()
    statics: Statics = _no_static
    samples: tuple[Mapping[str, Any], ...] = ({},)
    describe: Callable[[Mapping[str, Any]], str] = lambda static: ""
    doc: str = ""
    user: bool = False
    families: frozenset[str] | None = None
    labels: frozenset[int] = frozenset()
    draws: Draws | None = None
    _bodies: dict[Any, Graph | None] = field(default_factory=dict, init=False, repr=False)

    def body(self, types: Sequence[TensorType], static: Static) -> Graph | None:
        """The pattern as a Graph of arguments of these types; None where it does not take them."""
        key = (tuple(types), static, bool(jax.config.read("jax_enable_x64")))
        if key not in self._bodies:
            structs = [jax.ShapeDtypeStruct(t.shape, np.dtype(t.dtype)) for t in types]
            function = functools.partial(self.pattern, **dict(static))
            try:
                made = normalise(capture(function, structs, {}, fold_constants=True).graph)
                self._bodies[key] = _of_arguments(made, len(types))
            except (TypeError, ValueError, IndexError, NotImplementedError):
                self._bodies[key] = None
        return self._bodies[key]

    def bodies(self) -> list[Graph]:
        """The pattern at all types that were asked for."""
        return [body for body in self._bodies.values() if body is not None]

    def sample(self, sizes: Mapping[str, int] | None = None) -> tuple[TensorType, ...]:
        """Argument types in float32, or int32 for labels, at small sizes that differ."""
        known: dict[str, int] = dict(sizes or {})
        shapes = [tuple(known.setdefault(w, 3 + len(known)) for w in shape.split()) for shape in self.shapes]
        kinds = ["int32" if i in self.labels else "float32" for i in range(len(shapes))]
        return tuple(TensorType(shape, kind) for shape, kind in zip(shapes, kinds, strict=True))

    def runs_on(self, platform: str) -> bool:
        """Whether it has a lowering for a platform."""
        return any(not low.devices or platform in low.devices for low in self.lowerings)

    def label(self, static: Static) -> str:
        """The name with what is worth saying of the static keywords: ``attention (causal)``."""
        text = self.describe(dict(static))
        return f"{self.name} ({text})" if text else self.name


def _of_arguments(graph: Graph, count: int) -> Graph | None:
    """The graph without inputs for closed-over arrays, whose values stand in it; None where one is read."""
    extra = set(graph.inputs[count:])
    if not extra:
        return graph
    if any(extra.intersection(node.operands) for node in graph.nodes):
        return None
    builder = Builder()
    place: dict[int, int] = {}
    for number, node in enumerate(graph.nodes):
        if number in extra:
            continue
        if node.op == "input":
            place[number] = builder.input(node.type)
        else:
            place[number] = builder.copy(node, [place[q] for q in node.operands])
    return builder.build([place[n] for n in graph.outputs])


def frozen(static: Mapping[str, Any]) -> Static:
    """Static keywords as an attribute."""
    return tuple((name, freeze(value)) for name, value in sorted(static.items()))


_KERNELS: dict[str, Kernel] = {}


def add(kernel: Kernel) -> None:
    """Make a kernel known; one of the same name is replaced."""
    withdraw(kernel.name)
    _KERNELS[kernel.name] = kernel
    for lowering in kernel.lowerings:
        install(kernel.name, lowering)


def remove(name: str) -> Kernel | None:
    """Forget a kernel."""
    withdraw(name)
    return _KERNELS.pop(name, None)


def all_kernels() -> Mapping[str, Kernel]:
    """Every known kernel by name."""
    return _KERNELS
