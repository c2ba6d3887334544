# SPDX-License-Identifier: Apache-2.0
"""StableHLO text or portable-artifact bytes to `Module` records.

`mlir` parses and verifies, `refine` makes dynamic shapes static; here one walk copies functions, operations, attributes
and locations out, for `evaluate` to run.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from egraph_opt import _compat
from egraph_opt.errors import ModelError, UnsupportedOpError
from egraph_opt.frontends.stablehlo.attributes import (
    UnknownTypeError,
    constant,
    decode,
    value_type,
)
from egraph_opt.frontends.stablehlo.mlir import Diagnostics, entry_function, failed_pass, read_mlir, shortened
from egraph_opt.frontends.stablehlo.module import (
    Block,
    Function,
    Location,
    Module,
    Operation,
    TensorType,
    ValueType,
)
from egraph_opt.frontends.stablehlo.refine import refine, refine_with_xla

ir = _compat.mlir_ir

LARGE = 1024
"""Constants of at least this many elements count as weights and are named in `Module.constants`."""

_SKIPPED_ATTRIBUTES = frozenset(
    {"operand_layouts", "result_layouts", "output_operand_aliases", "sdy.sharding_rule", "value"}
)
_TRANSPARENT_SCOPES = ("jit(", "jit:", "pjit", "closed_call", "while", "body", "cond", "branch_")


def parse_module(source: bytes, origin: str) -> Module:
    """Parse a module.

    Args:
        source: StableHLO text in UTF-8, or the bytes of a portable artifact.
        origin: the file's path, for messages.

    Returns:
        The module's functions as records.

    Raises:
        ModelError: the source does not parse.
        UnsupportedOpError: an element type has no counterpart in JAX.
    """
    with Diagnostics() as diagnostics:
        mlir_module = read_mlir(source, origin, diagnostics)
        return _Reader(origin).module(mlir_module)


def specialise(source: bytes, types: Sequence[TensorType], origin: str) -> Module:
    """Parse a module with dynamic shapes, its arguments' types replaced by static ones.

    Args:
        source: as in `parse_module`.
        types: one static type for each argument of the entry function.
        origin: the file's path, for messages.

    Returns:
        The module with every shape known.

    Raises:
        ModelError: a shape stays unknown, or the shapes break a constraint that the file states.
    """
    with Diagnostics() as diagnostics:
        mlir_module = read_mlir(source, origin, diagnostics)
        try:
            refine(mlir_module, entry_function(mlir_module, origin), types)
            module = _Reader(origin).module(mlir_module)
            if not module.is_static:
                mlir_module = read_mlir(source, origin, diagnostics)
                refined = refine_with_xla(mlir_module, entry_function(mlir_module, origin), types)
                module = _Reader(origin).module(refined)
        except (ValueError, RuntimeError, ir.MLIRError) as error:
            shapes = ", ".join(str(kind) for kind in types)
            reason = shortened(diagnostics.first() or failed_pass(str(error)))
            raise ModelError(
                f"{origin}: the file's dynamic shapes cannot be resolved for arguments {shapes}: "
                f"{reason}; call it with shapes that the file admits"
            ) from error
        return module


@dataclasses.dataclass
class _Reader:
    """Copies one MLIR module into records."""

    origin: str
    constants: dict[str, np.ndarray] = dataclasses.field(default_factory=dict)
    counter: int = 0

    def module(self, mlir_module: Any) -> Module:
        """Every function, with `Location` and value numbers."""
        entry = entry_function(mlir_module, self.origin).attributes["sym_name"].value
        functions = {}
        for op in mlir_module.body.operations:
            if op.operation.name == "func.func":
                function = self._function(op)
                functions[function.name] = function
        attributes = mlir_module.operation.attributes
        name = attributes["sym_name"].value if "sym_name" in attributes else ""
        module = Module(name, functions, entry, self.constants)
        if (again := module.calls_itself()) is not None:
            raise ModelError(f"{self.origin}: function @{again} calls itself; want a module without recursion")
        return module

    def _function(self, mlir_function: Any) -> Function:
        attributes = mlir_function.attributes
        name = attributes["sym_name"].value
        regions = mlir_function.operation.regions
        if not len(regions[0].blocks):
            raise ModelError(f"{self.origin}: function @{name} has no body; want a whole module")
        signature = ir.FunctionType(attributes["function_type"].value)
        where = Location(name=f"@{name}")
        count = len(signature.inputs)
        per_argument: Sequence[Mapping[str, Any]] = [{}] * count
        if "arg_attrs" in attributes:
            per_argument = [decode(item) for item in attributes["arg_attrs"]]
        return Function(
            name,
            self._block(regions[0].blocks[0], {}),
            tuple(self._type(kind, where) for kind in signature.results),
            tuple(per_argument),
        )

    def _block(self, mlir_block: Any, outer: Mapping[Any, int]) -> Block:
        numbers = dict(outer)
        where = Location(name="argument")
        arguments = tuple(self._number(value, numbers) for value in mlir_block.arguments)
        types = tuple(self._type(value.type, where) for value in mlir_block.arguments)
        operations = [self._operation(op.operation, numbers) for op in mlir_block.operations]
        if not operations:
            raise ModelError(f"{self.origin}: a region is empty; want a whole module")
        return Block(arguments, types, tuple(operations[:-1]), operations[-1].operands)

    def _operation(self, op: Any, numbers: dict[Any, int]) -> Operation:
        location = _location(op.location, self.origin)
        operands = tuple(numbers[value] for value in op.operands)
        regions = tuple(
            self._block(region.blocks[0], numbers) if len(region.blocks) else Block((), (), (), ())
            for region in op.regions
        )
        attributes: dict[str, Any] = {
            key: decode(op.attributes[key]) for key in op.attributes if key not in _SKIPPED_ATTRIBUTES
        }
        result_types = tuple(self._type(value.type, location) for value in op.results)
        if op.name in {"stablehlo.constant", "chlo.constant"}:
            attributes["value"] = self._constant(op, location)
        return Operation(
            op.name,
            operands,
            tuple(self._number(value, numbers) for value in op.results),
            tuple(self._type(value.type, location) for value in op.operands),
            result_types,
            attributes,
            regions,
            location,
        )

    def _constant(self, op: Any, location: Location) -> np.ndarray:
        try:
            array = constant(op)
        except UnknownTypeError as error:
            raise self._unknown_type(error, location) from error
        if array.size >= LARGE and any(array.strides):
            self.constants[f"constant_{len(self.constants)}"] = array
        return array

    def _number(self, value: Any, numbers: dict[Any, int]) -> int:
        self.counter += 1
        numbers[value] = self.counter
        return self.counter

    def _type(self, mlir_type: Any, location: Location) -> ValueType:
        try:
            return value_type(mlir_type)
        except UnknownTypeError as error:
            raise self._unknown_type(error, location) from error

    def _unknown_type(self, error: UnknownTypeError, location: Location) -> UnsupportedOpError:
        return UnsupportedOpError(
            f"{self.origin}: element type '{error}' at {location} has no counterpart in JAX; "
            "export the model without quantised types"
        )


def _location(mlir_location: Any, origin: str) -> Location:
    """The name scope and the user's line out of MLIR's nested locations; a line of the file itself if it has none."""
    scope = name = function = ""
    kind = type(mlir_location)
    if kind is ir.NameLoc:
        *scopes, name = mlir_location.name_str.split("/")
        scope = "/".join(s for s in scopes if s and not s.startswith(_TRANSPARENT_SCOPES))
        mlir_location = mlir_location.child_loc
    for _ in range(8):
        kind = type(mlir_location)
        if kind is ir.CallSiteLoc:
            mlir_location = mlir_location.callee
        elif kind is ir.NameLoc:
            function = mlir_location.name_str
            mlir_location = mlir_location.child_loc
        elif kind is ir.FusedLoc and len(mlir_location.locations):
            mlir_location = mlir_location.locations[0]
        else:
            break
    if kind is ir.FileLineColLoc:
        file, line = str(mlir_location.filename), mlir_location.start_line
        file = origin if file == "-" else file
        return Location(scope, name, file, line, function)
    return Location(scope, name)
