# SPDX-License-Identifier: Apache-2.0
"""Every case of the suites on five kinds of inputs: does any candidate of the search fail the error gate?

    python -m benchmarks.numerics [SUITE ...]

Both candidates of a case, in its size for tests and at its own numerics class, are compared with the original against
float64. What is refused is listed, and the last line counts values that are infinite or NaN where the original's are
not. Exit status 1 if there are any at the default class. Inputs on which the original has no finite value at all, as a
logarithm of negative numbers, say nothing and are left out. Half an hour on two cores.
"""

from __future__ import annotations

import sys

import jax

from egraph_opt import optimize
from egraph_opt.bench.suites import SUITES, suite
from egraph_opt.verify import KINDS, Verifier, sample_inputs
from egraph_opt.verify.verdict import is_inexact

LOST = "where the original is finite"
VOID = "no finite value on any sampled input"


def main(names: list[str]) -> int:
    """Check the cases of some suites, or of all."""
    programs = refused = lost = 0
    for name in names or SUITES:
        for case in suite(name):
            built = case.build(small=True)
            plan = optimize(built.function, measure=False, verify=False, numerics=case.numerics)
            result = plan.plan(*built.args)
            given = [*jax.tree.leaves(built.args), *result.captured.constants]
            for kind in KINDS:
                drawn = sample_inputs(result.before, kind=kind)
                sets = [[d if is_inexact(d.dtype) else g for g, d in zip(given, drawn, strict=True)]]
                verifier = Verifier(result.before, sets, fewer_nonfinite=case.numerics == "finite")
                for candidate in (c for c in result.search.candidates if c.graph != result.before):
                    verdict = verifier.check(candidate.graph)
                    programs += VOID not in verdict.reason
                    if not verdict.ok and VOID not in verdict.reason:
                        refused += 1
                        lost += LOST in verdict.reason and case.numerics != "finite"
                        print(f"{name}/{case.name} ({case.numerics}), {kind} inputs: {verdict.reason}", flush=True)
            jax.clear_caches()
    print(f"{programs} comparisons, {refused} refused by the error gate, {lost} for values {LOST}")
    return 1 if lost else 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
