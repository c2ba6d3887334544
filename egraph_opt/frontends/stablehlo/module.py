# SPDX-License-Identifier: Apache-2.0
"""A StableHLO module as plain Python records.

The MLIR objects are decoded once, when a file is loaded; what the evaluator reads afterwards are these frozen records,
so tracing a program again costs no MLIR calls and the MLIR context can be freed. Stands between `parse` and `evaluate`.
"""

from __future__ import annotations

import dataclasses
import itertools
from collections import Counter
from collections.abc import Iterator, Mapping
from typing import Any

import numpy as np

DYNAMIC = -1
"""Stands in a shape for a dimension that is only known at call time (``tensor<?xf32>``)."""


@dataclasses.dataclass(frozen=True, slots=True)
class TensorType:
    """Shape and element type of a tensor."""

    shape: tuple[int, ...]
    dtype: np.dtype[Any]

    @property
    def is_static(self) -> bool:
        """Whether every dimension is known."""
        return DYNAMIC not in self.shape

    def __str__(self) -> str:
        """The type as ``float32[2,3]``."""
        dims = ",".join("?" if dim == DYNAMIC else str(dim) for dim in self.shape)
        return f"{self.dtype.name}[{dims}]"


@dataclasses.dataclass(frozen=True, slots=True)
class OtherType:
    """A type that is no tensor: a token or a tuple, kept as text."""

    text: str


ValueType = TensorType | OtherType


@dataclasses.dataclass(frozen=True, slots=True)
class Location:
    """Where an operation came from: its name scope and the line of the user's program, as far as the file tells."""

    scope: str = ""
    name: str = ""
    file: str = ""
    line: int = 0
    function: str = ""

    def __str__(self) -> str:
        """The place for a message: ``mlp.py:14 (dense/dot_general)``, or ``unknown location``."""
        path = "/".join(part for part in (self.scope, self.name) if part)
        if self.file:
            return f"{self.file}:{self.line}" + (f" ({path})" if path else "")
        return path or "unknown location"


@dataclasses.dataclass(frozen=True, slots=True, eq=False)
class Operation:
    """One operation; values are numbered, and the numbers are unique within a function."""

    name: str
    operands: tuple[int, ...]
    results: tuple[int, ...]
    operand_types: tuple[ValueType, ...]
    result_types: tuple[ValueType, ...]
    attributes: Mapping[str, Any]
    regions: tuple[Block, ...]
    location: Location

    @property
    def shape(self) -> tuple[int, ...]:
        """Shape of the first result."""
        return self.tensor_type().shape

    @property
    def dtype(self) -> np.dtype[Any]:
        """Element type of the first result."""
        return self.tensor_type().dtype

    def tensor_type(self, index: int = 0) -> TensorType:
        """Type of result number ``index``, which is a tensor."""
        kind = self.result_types[index]
        assert isinstance(kind, TensorType), f"{self.name}: result {index} is {kind}"
        return kind


@dataclasses.dataclass(frozen=True, slots=True, eq=False)
class Block:
    """A straight run of operations with arguments; the last operation returns."""

    arguments: tuple[int, ...]
    argument_types: tuple[ValueType, ...]
    operations: tuple[Operation, ...]
    returned: tuple[int, ...]

    def walk(self) -> Iterator[Operation]:
        """Every operation, those of inner regions included."""
        for op in self.operations:
            yield op
            for region in op.regions:
                yield from region.walk()

    def uses(self) -> Counter[int]:
        """How often each value is read, in inner regions and by the returns too."""
        counts = Counter(self.returned)
        for op in self.operations:
            counts.update(op.operands)
            for region in op.regions:
                counts.update(region.uses())
        return counts

    def definitions(self) -> dict[int, Operation]:
        """The operation that makes each value of this block (inner regions left out)."""
        return {result: op for op in self.operations for result in op.results}


@dataclasses.dataclass(frozen=True, slots=True, eq=False)
class Function:
    """One ``func.func``."""

    name: str
    body: Block
    result_types: tuple[ValueType, ...]
    argument_attributes: tuple[Mapping[str, Any], ...]


@dataclasses.dataclass(frozen=True, slots=True, eq=False)
class Module:
    """All functions of a file and the name of the one to call."""

    name: str
    functions: Mapping[str, Function]
    entry: str
    constants: Mapping[str, np.ndarray]

    @property
    def main(self) -> Function:
        """The function that a call of the model runs."""
        return self.functions[self.entry]

    @property
    def platform_arguments(self) -> frozenset[int]:
        """Positions of arguments that no caller gives: the index of the platform in a multi-platform export."""
        attributes = enumerate(self.main.argument_attributes)
        return frozenset(i for i, known in attributes if known.get("jax.global_constant") == "_platform_index")

    @property
    def is_static(self) -> bool:
        """Whether every shape is known."""
        types = itertools.chain(self.main.body.argument_types, *(op.result_types for op in self.walk()))
        return all(kind.is_static for kind in types if isinstance(kind, TensorType))

    def walk(self) -> Iterator[Operation]:
        """Every operation of every function."""
        for function in self.functions.values():
            yield from function.body.walk()

    def calls_itself(self) -> str | None:
        """A function that calls itself, directly or not; None without one."""
        calls = {name: {c for op in f.body.walk() for c in _callees(op)} for name, f in self.functions.items()}
        done: set[str] = set()
        while ready := {name for name, callees in calls.items() if name not in done and callees & calls.keys() <= done}:
            done |= ready
        return next((name for name in calls if name not in done), None)


def _callees(op: Operation) -> Iterator[str]:
    """Functions that an operation runs."""
    for key in ("callee", "decomposition"):
        if isinstance(name := op.attributes.get(key), str):
            yield name
    yield from op.attributes.get("called_computations", ())
