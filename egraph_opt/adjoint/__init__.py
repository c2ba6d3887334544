# SPDX-License-Identifier: Apache-2.0
"""Programs made by differentiation, before the search: equal values once, linear maps moved to the other side.

Nested ``grad`` computes every tangent several times, spelled differently, and once more for each cotangent that runs
the other way: 2^n sweeps through a network for an n-th derivative, where nested forward derivatives take n + 1. Two
steps undo that. ``merging`` finds nodes that are the same polynomial in the same leaves, by their values in a finite
field. ``elimination`` takes a result that is linear in what a chain of products computes and uses
``<a, L u> = <L' a, u>`` along the whole chain, wherever ``L' a`` is there already. No single step of it is cheaper, so
a search that grows by local gains does not find them (docs/decisions/derivatives.md).

``weights`` comes first: what scales the rows of whole Jacobians is computed on few elements. ``factors`` comes last:
sums of elementwise products have one form for the search.
"""

from egraph_opt.adjoint.directions import DIRECTIONS as DIRECTIONS
from egraph_opt.adjoint.directions import directions_summed as directions_summed
from egraph_opt.adjoint.factors import FACTORED as FACTORED
from egraph_opt.adjoint.factors import factored as factored
from egraph_opt.adjoint.rewrite import LAWS as LAWS
from egraph_opt.adjoint.rewrite import MOVED as MOVED
from egraph_opt.adjoint.rewrite import adjoint_form as adjoint_form
from egraph_opt.adjoint.weights import WEIGHTED as WEIGHTED
from egraph_opt.adjoint.weights import weights_gathered as weights_gathered

SCALING_LAWS = {
    DIRECTIONS: "sum_s v_s L(e_s) = L(sum_s v_s e_s), where L is linear and the same for all s",
    WEIGHTED: "x a + x b = x (a + b), where a and b have fewer dimensions; masks of x a act on a",
    FACTORED: "x a + x b = x (a + b), element by element",
}
"""What the passes about sums and elementwise products say, by name."""
