# SPDX-License-Identifier: Apache-2.0
"""Laws as rules: rule text where it says all of the law, and two JAX functions for ``egraph_opt.rule``.

Text with specs of one size is enough to try what a law derives among terms of that size, but no rule for a file: there
a law stands as text only where no size occurs in it, and as JAX functions otherwise.
"""

from __future__ import annotations

import itertools
from collections.abc import Iterator, Mapping, Sequence

from egraph_opt.engine.rule import Rule, parse_rules
from egraph_opt.engine.words import head
from egraph_opt.ir import Graph
from egraph_opt.ir.spec_algebra import swap
from egraph_opt.rules.suggest.enumerate import SIZES, Pair
from egraph_opt.rules.suggest.general import is_elementwise
from egraph_opt.rules.suggest.terms import Dims, Term, no_attributes, to_graph

LIBRARIES = ("jnp.", "lax.", "jax.nn.")
NAMES = {"maximum": "max", "minimum": "min"}


def law_text(pair: Pair) -> str:
    """The law in mathematics: the source without the names of libraries."""
    return f"{mathematics(pair.left)} = {mathematics(pair.right)}"


def mathematics(term: Term) -> str:
    """A term as mathematics."""
    return plain(term.expr().text)


def plain(text: str) -> str:
    """Source text without the names of libraries."""
    for library in LIBRARIES:
        text = text.replace(library, "")
    for name, short in NAMES.items():
        text = text.replace(f"{name}(", f"{short}(")
    return text


def functions_text(pair: Pair, name: str, numerics: str) -> str:
    """A definition of the rule from two JAX functions."""
    given = ", ".join(pair.left.variables())
    shapes = shapes_of(pair)
    stated = f", shapes={shapes!r}" if shapes else ""
    return "\n".join(
        (
            f'egraph_opt.rule(name="{name}", numerics="{numerics}"{stated})(',
            f"    lambda {given}: {pair.left},",
            f"    lambda {given}: {pair.right},",
            ")",
        )
    )


def shapes_of(pair: Pair) -> dict[str, str] | None:
    """Shapes of the variables as ``egraph_opt.rule`` takes them; None where a size is stated by another one."""
    variables = pair.left.variables()
    terms = [term for side in (pair.left, pair.right) for term in side.walk()]
    if any(dim.isupper() for term in terms for dim in term.dims) or any("{shape}" in _text(term) for term in terms):
        return None
    if is_elementwise(pair):
        return dict.fromkeys(variables, "...")
    return {name: " ".join(dims) for name, dims in variables.items()}


def _text(term: Term) -> str:
    return term.operator.text if term.operator is not None else ""


def rule_text(pair: Pair, name: str, numerics: str) -> str | None:
    """The law as rule text that holds at all sizes; None where that takes specs or attributes."""
    if any(t.operator is not None and _is_sized(t) for side in (pair.left, pair.right) for t in side.walk()):
        return None
    variables = list(pair.left.variables())
    sizes = dict.fromkeys((dim.lower() for dims in pair.variables().values() for dim in dims), 3)
    shapes = " ".join(f"(= ?shape (shape ?{v}))" for v in variables)
    when = f"\n  :when ({shapes})" if len(variables) > 1 else ""
    left, right = (next(_patterns(side, sizes, pair.variables())) for side in (pair.left, pair.right))
    return f';; {law_text(pair)}.\n;; numerics: {numerics}\n(rewrite {left} {right}{when}\n  :name "{name}")\n'


def _is_sized(term: Term) -> bool:
    assert term.operator is not None, "variables have no size"
    operator = term.operator
    return operator.op == "einsum" or operator.attrs is not no_attributes or operator.constant is not None


def trial_rules(pair: Pair, number: int) -> list[Rule]:
    """Rules that use the law on terms of the enumeration's sizes, from left to right and back where that is bounded."""
    found: list[Rule] = []
    both = pair.left.variables().keys() == pair.right.variables().keys()
    for one, other in ((pair.left, pair.right), (pair.right, pair.left)):
        if one.operator is None or (one is pair.right and not (both and one.size >= other.size - 1)):
            continue
        if not other.variables().keys() <= one.variables().keys():
            continue
        made = next(_patterns(other, SIZES, pair.variables()), None)
        for pattern in itertools.islice(_patterns(one, SIZES, pair.variables()), 4):
            name = f"trial-{number}-{len(found)}"
            text = f';; Law {number}.\n;; numerics: finite\n(rewrite {pattern} {made} :name "{name}")\n'
            found += parse_rules(text, "trial.egg") if made else []
    return found


def _patterns(term: Term, sizes: Mapping[str, int], variables: Mapping[str, Dims]) -> Iterator[str]:
    """The term as patterns, one for every order of the operands of its products; none where words are lacking."""
    graph = to_graph([term], sizes, variables)
    yield from _spelled(graph, graph.outputs[0], list(variables))


def _spelled(graph: Graph, number: int, names: Sequence[str]) -> Iterator[str]:
    node = graph.nodes[number]
    if node.op == "input":
        yield f"?{names[graph.inputs.index(number)]}"
        return
    found = ("Add", ()) if node.op == "add" else head(node)
    if found is None:
        return
    name, texts = found
    for operands in itertools.product(*(list(_spelled(graph, q, names)) for q in node.operands)):
        quoted = [f'"{text}"' for text in texts]
        yield f"({' '.join((name, *quoted, *operands))})"
        if name in ("Einsum2", "Add") and operands[0] != operands[1]:
            swapped = [f'"{swap(text)}"' for text in texts]
            yield f"({' '.join((name, *swapped, *operands[::-1]))})"
