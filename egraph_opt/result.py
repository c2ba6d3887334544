# SPDX-License-Identifier: Apache-2.0
"""The result of planning: the chosen program, ready to run, to read, to save and to ask about."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any

import jax

from egraph_opt._compat import outside_of_traces
from egraph_opt.calling import Convention
from egraph_opt.capture import Captured
from egraph_opt.cost import cost_model
from egraph_opt.derivative import stated_inputs, with_derivative_of
from egraph_opt.errors import ArgumentError, OutputError
from egraph_opt.frontends import LoadedModel, save, write_atomically
from egraph_opt.ir import Graph
from egraph_opt.lower import lower_graph
from egraph_opt.lower.python import to_python
from egraph_opt.onnx_output import save_as_onnx
from egraph_opt.options import Options
from egraph_opt.report import Report
from egraph_opt.search import Search, SearchOptions
from egraph_opt.split import Split, split

if TYPE_CHECKING:
    from egraph_opt.explain.explanation import Explanation
    from egraph_opt.explain.verdict import WhyNot
    from egraph_opt.rules.statistics import RuleStatistics


@dataclass(eq=False)
class Result:
    """A planned program.

    Args:
        convention: the original and how it is called.
        after: Graph of the chosen program; that of the original when nothing was better.
        report: figures and decisions.
        options: what was asked for.
        search: what the search found.
    """

    convention: Convention
    after: Graph
    report: Report
    options: Options
    search: Search = field(repr=False)

    @property
    def captured(self) -> Captured:
        """The original as captured."""
        return self.convention.captured

    @property
    def before(self) -> Graph:
        """Graph of the original program."""
        return self.captured.graph

    def __call__(self, *args: Any, **kwargs: Any) -> Any:
        """Run the chosen program; arguments as for the original, of the types that were planned for."""
        with self.convention.precision():
            if self.captured.arguments.static:  # JAX's jit could not take them along: they may be of any kind
                leaves = self.convention.leaves(args, kwargs)
                outputs = self._jitted_flat([*leaves, *self.held])
                return jax.tree.unflatten(self.captured.out_tree, outputs)
            return self._jitted(self.held, args, kwargs)

    def __str__(self) -> str:
        return str(self.report)

    def traceable(self, held: Sequence[Any], args: Sequence[Any], kwargs: Mapping[str, Any]) -> Any:
        """The chosen program as a plain JAX function of what it holds and its arguments."""
        leaves = self.convention.leaves(args, kwargs)
        outputs = self.flat_run([*leaves, *held])
        return jax.tree.unflatten(self.captured.out_tree, outputs)

    @cached_property
    def held(self) -> tuple[Any, ...]:
        """Arrays that the program takes beside its arguments: those it closes over.

        Of a loaded model's weights it is what was prepared of them, once: work that reads only weights is no part of a
        call, nor of a saved file.
        """
        return self.prepared if self._prepares else self.captured.constants

    @cached_property
    def prepared(self) -> tuple[Any, ...]:
        """What ``parts.run`` takes of the arrays that the program closes over, which ``parts.prepare`` makes."""
        return self._prepared_of(self.captured.constants)

    @property
    def _prepares(self) -> bool:
        return self.report.improved and self.convention.holds_weights and not self.convention.places

    @cached_property
    def parts(self) -> Split:
        """The chosen program cut at its frozen inputs."""
        return split(self.after, self.convention.frozen_positions)

    def _prepared_of(self, constants: Sequence[Any]) -> tuple[Any, ...]:
        with self.convention.precision(), outside_of_traces():
            return tuple(jax.jit(lower_graph(self.parts.prepare))(list(constants)))

    @cached_property
    def flat_run(self) -> Callable[[Sequence[Any]], list[Any]]:
        """The chosen program over flat leaves and what it holds, differentiable as the original is."""
        if not self._prepares:
            return self.flat
        lowered = lower_graph(self.parts.run, self.captured.tracebacks)
        if self._derived_by_original == ():
            return lowered
        count, constants = len(self.captured.leaf_names), self.captured.constants

        def original(*values: Any) -> list[Any]:
            return self.captured.original(*values[:count], *constants)

        return with_derivative_of(lowered, original, self._derived_by_original)

    def prepare(self, *frozen: Any, **named: Any) -> Callable[..., Any]:
        """Do the work that depends on the frozen arguments alone.

        A loaded model's weights are frozen here without being asked for. Where they are arguments, the program is then
        planned once more, with work on them free, because a program that is given its weights on every call must not
        count on that. Where the file holds them, other weights may be given by name, or none: those of the file serve.

        Args:
            frozen: values of the frozen parameters, in the order of the function's signature.
            named: those of the rest of them, by name.

        Returns:
            A function of the other arguments.

        Raises:
            ArgumentError: nothing is frozen, or the values do not fit.
        """
        places = self.convention.places
        if not places and self.convention.holds_weights:
            return self._with_weights(*frozen, **named)
        if not places and self._with_frozen_weights is not None:
            return self._with_frozen_weights.prepare(*frozen, **named)
        if not places:
            raise ArgumentError("prepare: no argument is frozen; give optimize(..., frozen=('params',))")
        rest = places[len(frozen) :]
        if len(frozen) > len(places) or set(named) != set(rest):
            got = ", ".join([f"{len(frozen)} by position" if named else str(len(frozen)), *named])
            raise ArgumentError(f"prepare: want {len(places)} values ({', '.join(places)}), got {got}")
        held = self.convention.frozen_values([*frozen, *(named[name] for name in rest)])
        held |= {len(self.captured.leaf_names) + i: value for i, value in enumerate(self.captured.constants)}
        prepared = self._prepared_of([held[p] for p in self.parts.frozen])
        program = lower_graph(self.parts.run, self.captured.tracebacks)

        @jax.jit
        def flat(prepared: Sequence[Any], leaves: Sequence[Any]) -> Any:
            return jax.tree.unflatten(self.captured.out_tree, program([*leaves, *prepared]))

        @jax.jit
        def run(prepared: Sequence[Any], args: Sequence[Any], kwargs: Mapping[str, Any]) -> Any:
            return flat(prepared, self.convention.rest(args, kwargs))

        def call(*args: Any, **kwargs: Any) -> Any:
            with self.convention.precision():
                if self.captured.arguments.static:  # as in ``__call__``
                    return flat(prepared, self.convention.rest(args, kwargs))
                return run(prepared, args, kwargs)

        return call

    def _with_weights(self, weights: Mapping[str, Any] | None = None) -> Callable[..., Any]:
        """The program with other weights in the place of those of the model's file."""
        constants = self.convention.closed_values(weights or {})
        held = self._prepared_of(constants) if self._prepares else constants

        def call(*args: Any, **kwargs: Any) -> Any:
            with self.convention.precision():
                return self._jitted(held, args, kwargs)

        return call

    def explain(self) -> Explanation:
        """What changed and why, with a certificate that can be checked; ``str()`` of it is a text."""
        from egraph_opt.explain.explanation import explain

        return explain(self)

    def why_not(self, question: str | Graph | Callable[..., Any]) -> WhyNot:
        """Why a rule, by its name, or an equal program left no trace in the chosen one; ``str()`` of it is a text."""
        from egraph_opt.explain.why_not import why_not

        return why_not(self, question)

    def rule_statistics(self) -> RuleStatistics:
        """Matches, unions, e-nodes, seconds and use of each rule, from one more search of the same program."""
        from egraph_opt.rules.statistics import rule_statistics

        cost = cost_model(self.options.cost, jax.default_backend())
        options = SearchOptions(self.options.active_rules(), self.options.numerics, self.options.budget, cost)
        used = self.report.rules_fired if self.report.improved else {}
        return rule_statistics(self.before, options, self.convention.frozen_positions, used)

    def to_python(self, name: str | None = None) -> str:
        """Standalone JAX source of the chosen program."""
        return to_python(self.after, name or self.report.name or "optimized")

    def save(self, path: str | Path) -> None:
        """Write the chosen program; the suffix tells how.

        Raises:
            OutputError: an unknown suffix, or the file cannot be written.
            UnsupportedOpError: the program holds what ONNX cannot say, and shall be written as ``.onnx``.
        """
        path = Path(path)
        if path.suffix.lower() == ".py":
            write_atomically(path, self.to_python().encode())
            return
        if path.suffix.lower() == ".onnx":
            save_as_onnx(self, path)
            return
        if path.suffix.lower() not in (".jaxexport", ".stablehlo", ".mlir"):
            raise OutputError(f"{path}: suffix {path.suffix!r}; want .jaxexport, .stablehlo, .mlir, .onnx or .py")

        def program(*args: Any, **kwargs: Any) -> Any:
            return self.traceable(self.held, args, kwargs)

        program.__name__ = self.report.name or "optimized"
        function = self.convention.function
        with self.convention.precision():  # outside of it the types of 64-bit arguments would be narrowed
            args, kwargs = self.convention.structs()
            save(program, args, path, like=function if isinstance(function, LoadedModel) else None, kwargs=kwargs)

    @cached_property
    def _with_frozen_weights(self) -> Result | None:
        """The plan of a loaded model in which its evident weights stay the same between calls."""
        from egraph_opt.pipeline import plan

        function = self.convention.function
        if not isinstance(function, LoadedModel) or not function.frozen_argnums:
            return None
        args, kwargs = self.convention.structs()
        names = tuple(f"arg{n}" for n in function.frozen_argnums)
        return plan(function, args, kwargs, dataclasses.replace(self.options, frozen=names))

    @cached_property
    def flat(self) -> Callable[[Sequence[Any]], list[Any]]:
        """The chosen program over flat leaves and closed-over arrays, differentiable as the original is."""
        if not self.report.improved:
            return self._as_written
        lowered = lower_graph(self.after, self.captured.tracebacks)
        places = self._derived_by_original
        return lowered if places == () else with_derivative_of(lowered, self.captured.original, places)

    @cached_property
    def _derived_by_original(self) -> tuple[int, ...] | None:
        """Leaves of which only the original has the derivative that the user asked for; None for all of them."""
        if self.captured.has_custom_derivatives or self.captured.has_checkpoint:
            return None
        count = len(self.captured.leaf_names) if self._prepares else len(self.before.inputs)
        return tuple(sorted(place for place in stated_inputs(self.before) if place < count))

    def _as_written(self, leaves: Sequence[Any]) -> list[Any]:
        """The user's own function, neither as the Graph spells it nor as its jaxpr was traced somewhere else."""
        count = len(self.captured.leaf_names)
        args, kwargs = self.captured.arguments.unflatten(leaves[:count])
        return jax.tree.leaves(self.convention.function(*args, **kwargs))

    @cached_property
    def _jitted(self) -> Any:
        return jax.jit(self.traceable)

    @cached_property
    def _jitted_flat(self) -> Any:
        return jax.jit(self.flat_run)
