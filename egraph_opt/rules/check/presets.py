# SPDX-License-Identifier: Apache-2.0
"""Texts of a random instance that the conditions of a rule made of functions fix together.

A nest of einsums names the sizes that its letters must share, so specs drawn apart from each other would hardly ever
fit. Here the sizes are drawn first, and specs, shapes and constants follow from them.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence

from egraph_opt.engine.attributes import FUNCTIONS
from egraph_opt.engine.facts import DTYPE
from egraph_opt.engine.sexpr import Form
from egraph_opt.ir.bindings import Binding
from egraph_opt.ir.nests import Nest, Tree
from egraph_opt.ir.spec import Scale, canonical
from egraph_opt.rules.check.asked import is_literal, unquote
from egraph_opt.rules.check.block_presets import PRESETS
from egraph_opt.rules.check.premises import Premises, is_variable
from egraph_opt.rules.check.profile import DTYPES, Profile

LATE = 0.5
"""Chance that a sum is left to the einsum around the one that could do it."""

_NEST = re.compile(r"nest\d+")
_NAME = re.compile(r"[A-Za-z]\w*")


def preset(premises: Premises, profile: Profile) -> dict[str, str]:
    """Values of text variables that go together; empty for a rule without nests and named shapes.

    Args:
        premises: what the rule asks for.
        profile: random choices.
    """
    calls = [call for _, call in premises.equations]
    for call in calls:
        made = PRESETS.get(str(call[0]).partition(".")[0])
        if made is not None:
            return made(profile, premises)
    nests = [(unquote(str(call[1])), [str(s) for s in call[2:]]) for call in calls if _NEST.fullmatch(str(call[0]))]
    shapes = [(unquote(str(call[1])), str(call[2])) for call in calls if call[0] == "bind-shape"]
    if not nests and not shapes:
        numbers = [call for call in calls if call[0] == "is-number"]
        return _constants(numbers, Binding({}), {}, profile, premises.named)
    texts = [*(part for text, _ in nests for part in Nest.parse(text).sizes.values()), *(dims for dims, _ in shapes)]
    binding = Binding({name: profile.size() for text in texts for name in _NAME.findall(text)})
    found: dict[str, str] = {}
    for text, variables in nests:
        specs = nest_specs(text, binding, profile)
        found.update(dict(zip(variables, specs, strict=True)) if specs else {})
    for dims, variable in shapes:
        sizes = [binding.size(dim) for dim in dims.split(",") if dim]
        if None not in sizes:
            found[variable] = ",".join(map(str, sizes)) or "scalar"
    fixed = [unquote(str(wanted)) for fact, wanted, _ in premises.types if fact == DTYPE and is_literal(wanted)]
    found.update(_constants(calls, binding, found, profile, [*fixed, *premises.named]))
    return found


def nest_specs(text: str, binding: Binding, profile: Profile) -> list[str] | None:
    """Specs in reading order of a random term that matches a nest pattern; None where a size is unknown."""
    nest = Nest.parse(text)
    table = {c: binding.size(name) for c, name in nest.sizes.items()}
    scale = binding.value(nest.scale)
    sizes = {c: n for c, n in table.items() if n is not None}
    if scale is None or len(sizes) < len(table):
        return None
    orders: dict[str, list[int]] = {}
    words = []
    for name, word in zip(nest.names, nest.words, strict=True):
        order = orders.setdefault(name, profile.rng.sample(range(len(word)), len(word))) if name else range(len(word))
        words.append("".join(word[i] for i in order))
    output = nest.output
    if nest.any_order:
        output = "".join(profile.rng.sample(output, len(output)))
    count = _products(nest.tree)
    return _Specs(profile, words, sizes, scale, profile.rng.randrange(count) if count else 0).write(nest.tree, output)


class _Specs:
    """Writes the specs of a nest in reading order; where its factor stands and how soon it sums is left to chance.

    Args:
        profile: random choices.
        words: letters of the leaves.
        sizes: of the letters.
        scale: factor of the nest.
        bearer: number of the einsum that has the factor.
    """

    def __init__(
        self, profile: Profile, words: Sequence[str], sizes: Mapping[str, int], scale: Scale, bearer: int
    ) -> None:
        self._profile, self._words, self._sizes, self._scale = profile, words, sizes, scale
        self._bearer, self._found = bearer, list[str]()

    def write(self, tree: Tree, output: str) -> list[str]:
        """The specs."""
        self._visit(tree, output, top=True)
        return self._found

    def _visit(self, tree: Tree, needed: str, top: bool = False) -> str:
        """Letters of a subtree's result; ``needed`` is the result itself at the top, what is still read below."""
        if isinstance(tree, int):
            return self._words[tree]
        place = len(self._found)
        self._found.append("")
        inputs = []
        for i, child in enumerate(tree):
            others = "".join(_letters(other, self._words) for j, other in enumerate(tree) if j != i)
            inputs.append(self._visit(child, needed + others))
        held = "".join(dict.fromkeys("".join(inputs)))
        output = needed if top else "".join(c for c in held if c in needed or self._profile.chance(LATE))
        self._found[place] = canonical(inputs, output, self._sizes, self._scale if place == self._bearer else 1)
        return output


def _products(tree: Tree) -> int:
    return 0 if isinstance(tree, int) else 1 + sum(map(_products, tree))


def _letters(tree: Tree, words: Sequence[str]) -> str:
    return words[tree] if isinstance(tree, int) else "".join(_letters(child, words) for child in tree)


def _constants(
    calls: Sequence[Form], binding: Binding, found: Mapping[str, str], profile: Profile, fixed: Sequence[str]
) -> dict[str, str]:
    """Element type and scalar constants; these may be of other types that are ``fixed`` somewhere."""
    made: dict[str, str] = {}
    dtype = ""
    for call in calls:
        if call[0] == "one-of" and is_variable(call[1]) and is_literal(call[2]):
            words = [w for w in unquote(str(call[2])).split() if w in DTYPES]
            dtype = profile.rng.choice(words) if words else ""
            made.update({str(call[1]): dtype} if dtype else {})
    for call in calls:
        truth = call[0] == "is-number" and unquote(str(call[2])) in ("True", "False")
        kind = "bool" if truth else profile.rng.choice((dtype or profile.main, *fixed))
        if call[0] == "is-number" and is_variable(call[1]):
            value = FUNCTIONS["number"].call(kind, unquote(str(call[2])))
        elif call[0] == "is-value" and is_variable(call[1]):
            value = FUNCTIONS["number-of"].call(kind, str(binding), unquote(str(call[3])))
        else:
            continue
        made.update({str(call[1]): value} if isinstance(value, str) else {})
    return {name: text for name, text in made.items() if name not in found}
