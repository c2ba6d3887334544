# SPDX-License-Identifier: Apache-2.0
"""Makes the nodes of one ONNX graph: names, initializers, equal nodes made once, element types that runtimes lack.

Writers of operations speak to it in values; a body of control flow has a writer of its own, which sees the values of
the graphs around it.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
from onnx import GraphProto, NodeProto, TensorProto, helper, numpy_helper

from egraph_opt.ir import Sources, TensorType
from egraph_opt.ir.sources import shown
from egraph_opt.lower.onnx.values import DATA_OPERAND, OPSET, Value, code_of, computed_in, opset_of


class Writer:
    """Nodes of one graph.

    Args:
        parent: of the graph around this one.
    """

    def __init__(self, parent: Writer | None = None) -> None:
        self.parent = parent
        self.root: Writer = parent.root if parent else self
        self.nodes: list[NodeProto] = []
        self.sources: Sources = parent.sources if parent else ()
        self._made: dict[Any, tuple[str, ...]] = {}
        self._taken: set[str] = set()
        self._held: dict[Any, Value] = {}
        self.initializers: dict[str, TensorProto] = {}
        self.opset = OPSET
        self.shapes: dict[str, tuple[int, ...]] = {}
        self.multiples: dict[str, tuple[Value, int]] = {}  # value -> what it is a multiple of, and how often

    def fresh(self, base: str) -> str:
        """A name that no value and no node of the model has."""
        taken = self.root._taken
        name, number = base, 1
        while name in taken:
            number += 1
            name = f"{base}_{number}"
        taken.add(name)
        return name

    def reserve(self, name: str) -> None:
        """Keep a name from being given to anything else."""
        self.root._taken.add(name)

    def weight(self, name: str, array: np.ndarray) -> None:
        """An initializer of this name."""
        self.root.initializers[name] = self.tensor(name, array)

    def emit(self, op: str, inputs: Sequence[str], count: int = 1, **attrs: Any) -> tuple[str, ...]:
        """Names of the results of a node, which is made when there is none like it."""
        plain = not any(isinstance(value, GraphProto) for value in attrs.values())
        key = (op, tuple(inputs), count, tuple(sorted((k, str(v)) for k, v in attrs.items())))
        known = self._known(key) if plain else None
        if known is not None:
            return known
        outputs = self._append(op, inputs, count, attrs)
        if plain:
            self._made[key] = outputs
        return outputs

    def copied(self, name: str) -> str:
        """The value under a name of its own."""
        return self._append("Identity", [name], 1, {})[0]

    def _append(self, op: str, inputs: Sequence[str], count: int, attrs: dict[str, Any]) -> tuple[str, ...]:
        outputs = tuple(self.fresh(op.lower()) for _ in range(count))
        place = self._place()
        name = self.fresh(f"{place}/{op}" if place else f"{op}_node")
        node = helper.make_node(op, list(inputs), list(outputs), name=name, doc_string=shown(self.sources), **attrs)
        self.nodes.append(node)
        return outputs

    def apply(
        self, op: str, args: Sequence[Value], *extra: str, shape: Sequence[int] | None = None, **options: Any
    ) -> Value:
        """The result of an operator of one result.

        Args:
            op: name of the operator.
            args: operands of the element type that it computes in; for ``Where`` the condition stands first.
            extra: names of further operands, such as axes.
            shape: of the result; by default the operands broadcast, as those of elementwise operators do.
            options: ``dtype`` of the result where it is not that of the operands; the rest are attributes.
        """
        dtype = options.pop("dtype", None)
        first = DATA_OPERAND.get(op, 0)
        own = args[first].dtype
        inner = computed_in(op, own)
        cast = [*args[:first], *(self.cast(x, inner) for x in args[first:])]
        (name,) = self.emit(op, [*(x.name for x in cast), *extra], **options)
        if shape is None:
            logical = np.broadcast_shapes(*(x.type.shape for x in args))
            held = np.broadcast_shapes(*(x.held for x in args))
        else:
            logical = held = tuple(shape)
        self.root.shapes[name] = held
        result = Value(name, TensorType(logical, dtype or inner), held)
        return result if dtype else self.cast(result, own)

    def cast(self, x: Value, dtype: str) -> Value:
        """The value in another element type."""
        if x.dtype == dtype:
            return x
        needed = max(opset_of(dtype), opset_of(x.dtype))
        self.root.opset = max(self.root.opset, needed)
        # JAX makes NaN of what is too large for an 8-bit float.
        options = {"saturate": 0} if dtype.startswith("float8") else {}
        code_of(x.dtype)
        (name,) = self.emit("Cast", [x.name], to=code_of(dtype), **options)
        return Value(name, TensorType(x.type.shape, dtype), x.held)

    def computed(self, op: str, dtype: str) -> str:
        """The element type in which an operator is run, see ``values.computed_in``."""
        return computed_in(op, dtype)

    def constant(self, array: Any, name: str = "constant") -> Value:
        """An initializer; equal ones are made once."""
        array = np.asarray(array)
        dtype = str(array.dtype)
        key = (dtype, array.shape, array.tobytes())
        root = self.root
        if key not in root._held:
            fresh = self.fresh(name)
            root.initializers[fresh] = self.tensor(fresh, array)
            root.shapes[fresh] = array.shape
            root._held[key] = Value(fresh, TensorType(array.shape, dtype), array.shape)
        return root._held[key]

    def tensor(self, name: str, array: np.ndarray) -> TensorProto:
        """An array as ONNX stores it."""
        dtype = str(array.dtype)
        self.root.opset = max(self.root.opset, opset_of(dtype))
        return helper.make_tensor(name, code_of(dtype), array.shape, np.ascontiguousarray(array).tobytes(), raw=True)

    def known(self, x: Value) -> np.ndarray | None:
        """The number or the list of an initializer that a writer made; None for anything else."""
        proto = self.root.initializers.get(x.name)
        return None if proto is None or (x.type.rank and not x.held) else numpy_helper.to_array(proto)

    def ints(self, numbers: Sequence[int]) -> str:
        """Name of a list of int64: a shape, axes, bounds."""
        return self.constant(np.array(list(numbers), np.int64), "ints").name

    def _known(self, key: Any) -> tuple[str, ...] | None:
        scope: Writer | None = self
        while scope is not None:
            if key in scope._made:
                return scope._made[key]
            scope = scope.parent
        return None

    def _place(self) -> str:
        """What nodes are named after: the user's scope, or else the line."""
        if not self.sources:
            return ""
        first = self.sources[0]
        return first.scope or f"{first.file.replace(chr(92), '/').rsplit('/', 1)[-1]}:{first.line}"
