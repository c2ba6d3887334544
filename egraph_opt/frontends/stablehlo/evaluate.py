# SPDX-License-Identifier: Apache-2.0
"""Runs a `Module` with JAX, one operation at a time.

Under a trace each operation leaves the ordinary primitives behind that it stands for, with the name scope and, in JAX's
source information, the line of the program that the file was exported from. Private functions are inlined.
"""

from __future__ import annotations

import functools
import itertools
import types
from collections.abc import Callable, Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

import jax
import numpy as np
from jax.extend import source_info_util

from egraph_opt.errors import UnsupportedOpError
from egraph_opt.frontends.stablehlo.module import Block, Module, Operation, TensorType
from egraph_opt.frontends.stablehlo.table import Array, Rule

# JAX names the innermost frame outside its own files as the source of a primitive: that has to be the loaded program.
source_info_util.register_exclusion(str(Path(__file__).parent.parent))


class Evaluator:
    """A module together with its rules.

    Args:
        module: the records to run.
        rules: op name to rule.
        origin: the file's path, for messages.
        folds: whether integer scalars are computed at once, so that branches for other platforms are never entered.
    """

    def __init__(self, module: Module, rules: Mapping[str, Rule], origin: str, *, folds: bool = False) -> None:
        self.module = module
        self.folds = folds
        self.rules = rules
        self.origin = origin
        large = {id(array): name for name, array in module.constants.items()}
        self.constants = {name: jax.device_put(array) for name, array in module.constants.items()}
        self._lifted = {key: self.constants[name] for key, name in large.items()}

    @functools.cached_property
    def definitions(self) -> dict[int, Operation]:
        """The operation that makes each value, over the whole module."""
        return {result: op for op in self.module.walk() for result in op.results}

    def main(self, args: Sequence[Array]) -> list[Array]:
        """Results of the entry function."""
        return self.call(self.module.entry, args)

    def call(self, name: str, args: Sequence[Array]) -> list[Array]:
        """Results of one function."""
        return Frame(self, None).run(self.module.functions[name].body, args)

    def lifted(self, array: np.ndarray) -> Array:
        """The device copy of a large constant; any other constant as it is."""
        return self._lifted.get(id(array), array)


class Frame:
    """The values of one running block, and those of the blocks around it."""

    def __init__(self, evaluator: Evaluator, parent: Frame | None) -> None:
        self.evaluator = evaluator
        self._parent = parent
        self._values: dict[int, Array] = {}

    def value(self, number: int) -> Array:
        """The value with this number, made here or further out."""
        frame: Frame | None = self
        while frame is not None:
            if number in frame._values:
                return frame._values[number]
            frame = frame._parent
        raise AssertionError(f"value {number} is read before it is made")

    def region(self, block: Block, known: Mapping[int, Array] | None = None) -> Callable[..., list[Array]]:
        """A block inside this frame as a Python function of its arguments.

        Args:
            block: the region's block.
            known: results that are given already; the operations making them are not run.
        """

        def run(*args: Array) -> list[Array]:
            return Frame(self.evaluator, self).run(block, args, known)

        return run

    def run(self, block: Block, args: Sequence[Array], known: Mapping[int, Array] | None = None) -> list[Array]:
        """Evaluate a block on its arguments and return what it returns."""
        self._values.update(zip(block.arguments, args, strict=True))
        operations: Iterable[Operation] = block.operations
        if known:
            self._values.update(known)
            operations = [op for op in operations if not op.results or op.results[0] not in known]
        for scope, group in itertools.groupby(operations, _scope):
            if scope:
                with jax.named_scope(scope):
                    self._run_all(group)
            else:
                self._run_all(group)
        return [self.value(number) for number in block.returned]

    def _run_all(self, operations: Iterable[Operation]) -> None:
        rules = self.evaluator.rules
        for op in operations:
            args = [self.value(number) for number in op.operands]
            if self.evaluator.folds and (folded := self._fold(op, args)) is not None:
                self._values[op.results[0]] = folded
                continue
            place = op.location
            rule = rules.get(op.name, _refuse)
            results = _from_line(place.file, place.line, place.function)(rule, self, op, args)
            if len(op.results) == 1 and not isinstance(results, (list, tuple)):
                self._values[op.results[0]] = results
            else:
                self._values.update(zip(op.results, results, strict=True))

    def _fold(self, op: Operation, args: Sequence[Array]) -> Array | None:
        """The value of an op of known integer scalars, as a numpy scalar."""
        known = all(isinstance(x, (np.ndarray, np.generic)) and x.shape == () and x.dtype.kind in "iub" for x in args)
        if not args or not known or op.regions or len(op.results) != 1:
            return None
        kind = op.result_types[0]
        if not isinstance(kind, TensorType) or kind.shape or op.name in _NEVER_FOLDED:
            return None
        with jax.ensure_compile_time_eval():
            return np.asarray(self.evaluator.rules[op.name](self, op, args))

    def definition(self, number: int) -> Operation | None:
        """The operation that makes a value; None for an argument."""
        return self.evaluator.definitions.get(number)

    def unsupported(self, op: Operation, reason: str) -> UnsupportedOpError:
        """The error for an op that is known, but not in this form."""
        return UnsupportedOpError(
            f"{self.evaluator.origin}: op '{op.name}' at {op.location}: {reason}; see docs/stablehlo.md"
        )


_NEVER_FOLDED = frozenset({"func.call", "stablehlo.custom_call", "stablehlo.composite"})


def _refuse(frame: Frame, op: Operation, _args: Sequence[Array]) -> Any:
    raise frame.unsupported(op, "it is not known")


def _scope(op: Operation) -> str:
    return op.location.scope


def _step(rule: Rule, frame: Frame, op: Operation, args: Sequence[Array]) -> Any:
    return rule(frame, op, args)


@functools.lru_cache(maxsize=65536)
def _from_line(file: str, line: int, function: str) -> Callable[[Rule, Frame, Operation, Sequence[Array]], Any]:
    """A copy of `_step` that claims to stand on a line of the user's program, so JAX records that line."""
    if not file:
        return _step
    name = function or "<module>"
    code = _step.__code__.replace(co_filename=file, co_firstlineno=max(line - 1, 0), co_name=name, co_qualname=name)
    return types.FunctionType(code, _step.__globals__)
