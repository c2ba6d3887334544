# SPDX-License-Identifier: Apache-2.0
"""State of a capture: what the whole program shares, and one scope per jaxpr that becomes a graph of its own.

A scope emits nodes through an ``Emitter``. Values are node numbers of squeezed tensors; the true shapes stand in the
jaxpr's avals, and ``true`` and ``squeezed`` go between the two.
"""

from __future__ import annotations

import itertools
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from egraph_opt.capture.evaluate import is_plain
from egraph_opt.capture.fold import Folder
from egraph_opt.capture.places import Places
from egraph_opt.ir import Sources, TensorType
from egraph_opt.ir.attrs import Ref
from egraph_opt.ir.emit import Emitter
from egraph_opt.ir.numerics import Numerics

PRECISIONS = (None, "high", "highest")


@dataclass
class Shared:
    """What all scopes of one capture share.

    Args:
        fold_constants: whether values of closed-over arrays may be looked at.
        strict: whether a primitive without an op is an error.
        numerics: class of simplification that may be made while capturing.
        array_names: names of closed-over arrays, by their identity.
    """

    fold_constants: bool = False
    strict: bool = False
    numerics: Numerics = Numerics.REASSOCIATE
    array_names: Mapping[int, str] = field(default_factory=dict)
    places: Places = field(default_factory=Places)
    constants: list[Any] = field(default_factory=list)
    custom_derivatives: dict[str, None] = field(default_factory=dict)
    has_checkpoint: bool = False
    precision: str | None = None
    _serial: itertools.count[int] = field(default_factory=itertools.count)
    _refs: dict[int, Ref] = field(default_factory=dict)

    def serial(self) -> int:
        """A number for an effectful node, so that two of them are never one."""
        return next(self._serial)

    def ref(self, value: Any) -> Ref:
        """The one ``Ref`` of a value in this program."""
        known = self._refs.get(id(value))
        if known is None:
            known = self._refs[id(value)] = Ref(value)
        return known

    def ask_precision(self, name: str) -> None:
        """Raise the precision of the program's matrix products to at least this one."""
        if PRECISIONS.index(name) > PRECISIONS.index(self.precision):
            self.precision = name


class Scope:
    """One jaxpr on its way to a graph.

    Args:
        shared: state of the whole capture.
    """

    def __init__(self, shared: Shared) -> None:
        self.shared = shared
        self.emitter = Emitter(shared.numerics)
        self.folder = Folder(self.emitter, shared.numerics)
        self.effects: list[int] = []
        self.arrays: dict[int, int] = {}
        self.sources: Sources = ()
        self.path = ""
        self.call_sources: Sources | None = None

    def type(self, x: int) -> TensorType:
        """Type of a node of this scope."""
        return self.emitter.type(x)

    def squeezed(self, x: int) -> int:
        """``x`` without dimensions of size 1."""
        return self.emitter.reshape(x, squeeze(self.type(x).shape), self.sources)

    def true(self, x: int, aval: Any) -> int:
        """``x`` with the shape it has in the jaxpr."""
        return self.emitter.reshape(x, tuple(aval.shape), self.sources)

    def add(self, op: str, operands: Sequence[int], attrs: Sequence[tuple[str, Any]], type: TensorType) -> int:
        """A node at the present source line; its result is squeezed."""
        return self.squeezed(self.emitter.add(op, operands, attrs, type, self.sources))

    def add_many(
        self, op: str, operands: Sequence[int], attrs: Sequence[tuple[str, Any]], types: Sequence[TensorType]
    ) -> list[int]:
        """A node with any number of results, each squeezed."""
        if len(types) == 1:
            return [self.add(op, operands, attrs, types[0])]
        number = self.emitter.add(op, operands, attrs, types, self.sources)
        return [self.add("result", (number,), (("index", k),), t) for k, t in enumerate(types)]

    def constant_input(self, array: Any) -> int:
        """The node of a closed-over array: an input of the program, the same for the same object."""
        known = self.arrays.get(id(array))
        if known is None:
            name = self.shared.array_names.get(id(array)) or f"const{len(self.shared.constants)}"
            known = self.new_input(tensor_type(array), name)
            self.shared.constants.append(array)
            self.arrays[id(array)] = known
            if self.shared.fold_constants and is_plain(tensor_type(array).dtype):
                self.folder.know(known, array)
        return self.squeezed(known)

    def new_input(self, type: TensorType, name: str = "") -> int:
        """A new input of the graph, at its true shape."""
        return self.emitter.input(type, name)


Handler = Callable[[Scope, Any, list[int]], Sequence[int] | None]
"""Captures one equation, or says None: then the general way is taken."""


def is_placed(sharding: Any) -> bool:
    """Whether a sharding spreads a tensor over several devices; all others ask for nothing."""
    if sharding is None:
        return False
    mesh = getattr(sharding, "mesh", None)
    count = getattr(mesh, "size", None) if mesh is not None else len(getattr(sharding, "device_set", (0, 0)))
    return count is None or count > 1


def squeeze(shape: Sequence[int]) -> tuple[int, ...]:
    """A shape without its dimensions of size 1."""
    return tuple(n for n in shape if n != 1)


def tensor_type(value: Any) -> TensorType:
    """Type of an aval or an array."""
    import jax

    aval = value if hasattr(value, "weak_type") or not hasattr(value, "__array__") else jax.typeof(value)
    shape, dtype = getattr(aval, "shape", ()), getattr(aval, "dtype", None)
    if dtype is None or type(aval).__name__ == "AbstractRef":
        return TensorType(tuple(shape), type_name(aval))
    return TensorType(tuple(shape), str(dtype), bool(getattr(aval, "weak_type", False)))


def type_name(aval: Any) -> str:
    """Name of a type that is no array's, such as a mutable reference: no character that graph text gives a meaning."""
    return str(aval).replace("[", "<").replace("]", ">").replace("~", "").replace(" ", "").replace("*", "")
