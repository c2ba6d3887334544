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

from egraph_opt.calling import Convention
from egraph_opt.capture import Captured
from egraph_opt.cost import cost_model
from egraph_opt.derivative import with_derivative_of
from egraph_opt.errors import ArgumentError, OutputError
from egraph_opt.frontends import LoadedModel, save, write_atomically
from egraph_opt.ir import Graph
from egraph_opt.lower import lower_graph
from egraph_opt.lower.python import to_python
from egraph_opt.options import Options
from egraph_opt.report import Report
from egraph_opt.search import Search, SearchOptions
from egraph_opt.split import split

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
                outputs = self._jitted_flat([*leaves, *self.captured.constants])
                return jax.tree.unflatten(self.captured.out_tree, outputs)
            return self._jitted(self.captured.constants, args, kwargs)

    def __str__(self) -> str:
        return str(self.report)

    def traceable(self, constants: Sequence[Any], args: Sequence[Any], kwargs: Mapping[str, Any]) -> Any:
        """The chosen program as a plain JAX function of its closed-over arrays and arguments."""
        leaves = self.convention.leaves(args, kwargs)
        outputs = self.flat([*leaves, *constants])
        return jax.tree.unflatten(self.captured.out_tree, outputs)

    def prepare(self, *frozen: Any) -> Callable[..., Any]:
        """Do the work that depends on the frozen arguments alone.

        A loaded model's weights are frozen here without being asked for: the program is then planned once more, with
        work on them free, because a program that is given its weights on every call must not count on that.

        Args:
            frozen: values of the frozen parameters, in the order of the function's signature.

        Returns:
            A function of the other arguments.

        Raises:
            ArgumentError: nothing is frozen, or the values do not fit.
        """
        places = self.convention.places
        if not places and self._with_frozen_weights is not None:
            return self._with_frozen_weights.prepare(*frozen)
        if not places:
            raise ArgumentError("prepare: no argument is frozen; give optimize(..., frozen=('params',))")
        if len(frozen) != len(places):
            raise ArgumentError(f"prepare: want {len(places)} values ({', '.join(places)}), got {len(frozen)}")
        held = self.convention.frozen_values(frozen)
        held |= {len(self.captured.leaf_names) + i: value for i, value in enumerate(self.captured.constants)}
        parts = split(self.after, self.convention.frozen_positions)
        with self.convention.precision():
            prepared = jax.jit(lower_graph(parts.prepare))([held[p] for p in parts.frozen])
        program = lower_graph(parts.run, self.captured.tracebacks)

        @jax.jit
        def run(prepared: Sequence[Any], args: Sequence[Any], kwargs: Mapping[str, Any]) -> Any:
            leaves = self.convention.rest(args, kwargs)
            return jax.tree.unflatten(self.captured.out_tree, program([*leaves, *prepared]))

        def call(*args: Any, **kwargs: Any) -> Any:
            with self.convention.precision():
                return run(prepared, args, kwargs)

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
        """
        path = Path(path)
        if path.suffix.lower() == ".py":
            write_atomically(path, self.to_python().encode())
            return
        if path.suffix.lower() not in (".jaxexport", ".stablehlo", ".mlir"):
            raise OutputError(f"{path}: suffix {path.suffix!r}; want .jaxexport, .stablehlo, .mlir or .py")
        args, kwargs = self.convention.structs()

        def program(*args: Any, **kwargs: Any) -> Any:
            return self.traceable(self.captured.constants, args, kwargs)

        program.__name__ = self.report.name or "optimized"
        function = self.convention.function
        with self.convention.precision():
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
        if self.captured.has_custom_derivatives or self.captured.has_checkpoint:
            return with_derivative_of(lowered, self.captured.original)
        return lowered

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
        return jax.jit(self.flat)
