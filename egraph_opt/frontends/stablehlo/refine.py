# SPDX-License-Identifier: Apache-2.0
"""Gives a module with dynamic shapes (``tensor<?xf32>``) the static shapes of one call.

StableHLO's own passes do the work. They refine a function only once, so every call gets a copy of what it calls first.
Runs on the MLIR module, before `parse` copies it into records.
"""

from __future__ import annotations

import io
from collections.abc import Sequence
from typing import Any

from egraph_opt import _compat
from egraph_opt.frontends.stablehlo.module import TensorType

ir = _compat.mlir_ir


def refine(mlir_module: Any, main: Any, types: Sequence[TensorType]) -> None:
    """Make every shape static that follows from the arguments' shapes, in place.

    Args:
        mlir_module: the module.
        main: its entry function.
        types: the static type of each argument of ``main``.

    Raises:
        MLIRError: the shapes contradict each other.
    """
    _copy_callees(mlir_module)
    passes = (_refine_arguments(main, types), "stablehlo-refine-shapes", "func.func(stablehlo-canonicalize-dynamism)")
    _run(mlir_module, *passes)


def refine_with_xla(mlir_module: Any, main: Any, types: Sequence[TensorType]) -> Any:
    """`refine` by XLA's own function, which knows a few more ops and complains on the terminal.

    Returns:
        A new module in the same context.

    Raises:
        RuntimeError: the shapes contradict each other or the file's constraints.
    """
    _run(mlir_module, _refine_arguments(main, types))
    buffer = io.BytesIO()
    mlir_module.operation.write_bytecode(buffer)
    return ir.Module.parse(_compat.refine_polymorphic_shapes(buffer.getvalue()), mlir_module.context)


def _refine_arguments(main: Any, types: Sequence[TensorType]) -> str:
    """The pass that gives ``main`` its argument types."""
    context = main.operation.context
    with context, ir.Location.unknown(context):
        static = [
            ir.RankedTensorType.get(list(kind.shape), ir.RankedTensorType(argument.type).element_type)
            for argument, kind in zip(main.regions[0].blocks[0].arguments, types, strict=True)
        ]
    return f"stablehlo-refine-arguments{{types={','.join(map(str, static))}}}"


def _run(mlir_module: Any, *passes: str) -> None:
    with mlir_module.context, ir.Location.unknown(mlir_module.context):
        _compat.mlir_pass_manager(f"builtin.module({','.join(passes)})").run(mlir_module.operation)


def _copy_callees(mlir_module: Any) -> None:
    """Give each call a function of its own."""
    functions = {
        op.attributes["sym_name"].value: op for op in mlir_module.body.operations if op.operation.name == "func.func"
    }
    called: set[str] = set()
    waiting = [op for name, op in functions.items() if not _is_private(op)]
    while waiting:
        for call in _calls(waiting.pop()):
            name = call.attributes["callee"].value
            target = functions[name]
            if name in called:
                fresh = f"{name}__{len(called)}"
                target = target.operation.clone(ip=ir.InsertionPoint.at_block_begin(mlir_module.body))
                target.attributes["sym_name"] = ir.StringAttr.get(fresh, mlir_module.context)
                call.attributes["callee"] = ir.FlatSymbolRefAttr.get(fresh, mlir_module.context)
                name = fresh
                functions[name] = target
            called.add(name)
            waiting.append(target)


def _is_private(function: Any) -> bool:
    return "sym_visibility" in function.attributes and function.attributes["sym_visibility"].value == "private"


def _calls(operation: Any) -> list[Any]:
    """Every func.call inside an operation."""
    found = []
    for region in operation.regions:
        for block in region.blocks:
            for op in block.operations:
                inner = op.operation
                if inner.name == "func.call":
                    found.append(inner)
                found.extend(_calls(inner))
    return found
