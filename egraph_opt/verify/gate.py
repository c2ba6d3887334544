# SPDX-License-Identifier: Apache-2.0
"""The gate itself: run original and candidate on the same inputs and judge them against the original in float64.

A rewrite that is right over the reals may still cancel: it is admitted when its error on sampled inputs stays within a
small factor of the original's own. Programs with effects are never run; programs too large for a float64 evaluation
are compared in their own precision.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import jax

from egraph_opt.cost import count_graph, peak_bytes
from egraph_opt.ir import Graph
from egraph_opt.ir.types import is_complex, is_floating
from egraph_opt.lower import lower_graph
from egraph_opt.verify.evaluate import Function, as_leaf, evaluate, largest, references, sensitivity
from egraph_opt.verify.inputs import KINDS, dtype_of, sample_inputs
from egraph_opt.verify.structure import effects, interface_fault
from egraph_opt.verify.ties import may_be_tied, untied
from egraph_opt.verify.verdict import COARSEST, OutputVerdict, Verdict, combine, epsilon, is_inexact, judge

NATIVE_ULPS = 1000.0
"""Tolerance without a reference: the original's own error is not known then."""


@dataclass(frozen=True, slots=True)
class Limits:
    """How much work verification may be.

    Args:
        flops: of one float64 evaluation [flop].
        bytes: memory of one float64 evaluation [byte].
        native: programs larger by this factor are not run at all.
    """

    flops: float = 2e11
    bytes: float = 4e9
    native: float = 50.0


@dataclass(frozen=True, slots=True)
class _Case:
    """One set of inputs and what the original makes of it."""

    leaves: list[Any]
    results: list[Any]
    references: list[Any]
    own_errors: list[float | None]
    largest: float


class Verifier:
    """Reference values of one program, computed once, and judgements of many candidates.

    Args:
        original: the program as captured.
        inputs: one or more lists of leaves; None draws them.
        function: the user's own flat function, ``function(leaves) -> outputs``, if capture is to be checked too.
        limits: see ``Limits``.
        fewer_nonfinite: a candidate may be finite where the original is not (numerics class "finite").
        seed: of drawn inputs.

    Attributes:
        reference: "float64", "native", "structure" or "effects": what candidates are judged by.
    """

    def __init__(
        self,
        original: Graph,
        inputs: Sequence[Sequence[Any]] | None = None,
        *,
        function: Function | None = None,
        limits: Limits | None = None,
        fewer_nonfinite: bool = False,
        seed: int = 0,
    ) -> None:
        self.original = original
        self.fewer_nonfinite = fewer_nonfinite
        self.reference = reference_kind(original, limits or Limits())
        self._function = function
        self._cases: list[_Case] | None = None
        self._inputs, self._seed = inputs, seed

    def check(self, candidate: Graph, function: Function | None = None) -> Verdict:
        """Judge a candidate.

        Args:
            candidate: the optimised program.
            function: how it is run; None lowers the graph.
        """
        if candidate == self.original and function is None and self._function is None:
            return Verdict(True, "the same program")
        fault = interface_fault(self.original, candidate)
        if fault:
            return Verdict(False, fault)
        if self.reference == "effects":
            return Verdict(True, "effects: not run; the same effects in the same order")
        if self.reference == "structure":
            return Verdict(True, "too large to run; checked by structure only")
        captured = self.check_capture()
        return captured if not captured.ok else self._judge(function or lower_graph(candidate))

    def check_capture(self) -> Verdict:
        """Judge the captured graph itself against the user's function, where that was given."""
        if self._function is None or self.reference not in ("float64", "native"):
            return Verdict(True, "no function to compare with")
        verdict = self._judge(self._function)
        return (
            verdict
            if verdict.ok
            else Verdict(False, f"capture: {verdict.reason}", *_errors(verdict), verdict.reference)
        )

    def _judge(self, function: Function) -> Verdict:
        run = jax.jit(function)
        rows = []
        for case in self._compute():
            rows.append(self._row(case, evaluate(run, case.leaves)))
            if not all(v.ok for v in rows[-1]):
                break
        return combine(rows, self.reference)

    def _compute(self) -> list[_Case]:
        """Inputs with the original's results, computed at the first call."""
        if self._cases is None:
            native = self.reference == "native"
            kinds = KINDS[:1] if native else KINDS
            sets = self._inputs or [sample_inputs(self.original, self._seed, kind) for kind in kinds]
            types = self.original.input_types
            leaves = [[as_leaf(x, t.dtype) for x, t in zip(s, types, strict=True)] for s in sets]
            run = jax.jit(lower_graph(self.original))
            if not native and may_be_tied(self.original):
                leaves = [untied(run, case) for case in leaves]
            results = [evaluate(run, case) for case in leaves]
            wide = results if native else references(self.original, leaves)
            doubles = not native and any(_is_double(t.dtype) for t in self.original.output_types)
            self._cases = []
            for case, result, reference in zip(leaves, results, wide, strict=True):
                own: list[float | None] = sensitivity(run, case, result) if doubles else [None for _ in result]
                self._cases.append(_Case(case, result, reference, own, largest(case)))
        return self._cases

    def _row(self, case: _Case, values: Sequence[Any]) -> list[OutputVerdict]:
        row = []
        for reference, original, own, value in zip(case.references, case.results, case.own_errors, values, strict=True):
            tolerance, noise = None, 0.0
            if is_inexact(original.dtype):
                noise = epsilon(original.dtype) * case.largest
                if self.reference == "native":
                    tolerance = min(NATIVE_ULPS * epsilon(original.dtype), COARSEST)
            verdict = judge(
                reference,
                original,
                value,
                own_error=own,
                tolerance=tolerance,
                noise=noise,
                fewer_nonfinite=self.fewer_nonfinite,
            )
            row.append(verdict)
        return row


def compare(
    original: Graph,
    candidate: Graph,
    inputs: Sequence[Any] | None = None,
    *,
    limits: Limits | None = None,
    fewer_nonfinite: bool = False,
    seed: int = 0,
) -> Verdict:
    """Judge one candidate.

    Args:
        original: the program as captured.
        candidate: the optimised program.
        inputs: leaves; None draws several sets.
        limits: how much work verification may be.
        fewer_nonfinite: the candidate may be finite where the original is not.
        seed: of drawn inputs.
    """
    sets = None if inputs is None else [inputs]
    return Verifier(original, sets, limits=limits, fewer_nonfinite=fewer_nonfinite, seed=seed).check(candidate)


def reference_kind(graph: Graph, limits: Limits) -> str:
    """How a program is verified: by a float64 evaluation, in its own precision, or without being run."""
    if effects(graph):
        return "effects"
    flops, nbytes = count_graph(graph).flops, 2.0 * peak_bytes(graph)
    if flops <= limits.flops and nbytes <= limits.bytes:
        return "float64"
    if flops <= limits.native * limits.flops and nbytes <= limits.native * limits.bytes:
        return "native"
    return "structure"


def _is_double(dtype: str) -> bool:
    return (is_floating(dtype) and dtype_of(dtype).itemsize >= 8) or (is_complex(dtype) and dtype == "complex128")


def _errors(verdict: Verdict) -> tuple[float | None, float | None]:
    return verdict.error_original, verdict.error_candidate
