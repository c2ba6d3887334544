# SPDX-License-Identifier: Apache-2.0
"""Nests of einsums as rules match them: the flat n-ary einsum of a tree of specs, compared up to names and orders.

A pattern is text: ``((a:ab,b:bc),c:cd)->~ad;n,k,m,l|2.0``. Parentheses are einsums, one spec each in reading order. A
leaf is the letters of an operand; one with a name may have its dimensions in any order, the same for every leaf of
that name. ``~`` lets the result's dimensions come in any order. After ``;`` stands the size of each letter, by first
appearance, as a name or an expression of names, after ``|`` the factor where it is not 1.
"""

from __future__ import annotations

import functools
import itertools
import math
import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass

from egraph_opt.errors import GraphError
from egraph_opt.ir.bindings import Binding, split_pattern
from egraph_opt.ir.spec import Scale, Spec
from egraph_opt.ir.spec_algebra import PRIVATE_LETTERS

TOLERANCE = 1e-6
"""Relative difference up to which the factor of a pattern and of a spec count as the same number: that of float32."""

RESULT = "~"
Tree = int | tuple["Tree", ...]
_LEAF = re.compile(r"(?:(\w+):)?([a-zA-Z]*)")


@dataclass(frozen=True, slots=True)
class Nest:
    """A parsed pattern.

    Args:
        tree: nested tuples of leaf numbers; every tuple is an einsum.
        names: of the leaves, "" for those whose order is fixed.
        words: letters of the leaves.
        output: letters of the result.
        any_order: whether the result may come in any order.
        sizes: of the letters, as names or expressions.
        scale: factor, an expression.
    """

    tree: Tree
    names: tuple[str, ...]
    words: tuple[str, ...]
    output: str
    any_order: bool
    sizes: Mapping[str, str]
    scale: str

    @staticmethod
    @functools.cache
    def parse(text: str) -> Nest:
        """Read the text form.

        Raises:
            GraphError: the text is no pattern of einsums.
        """
        letters, sizes, scale = split_pattern(text)
        left, arrow, output = letters.partition("->")
        leaves: list[tuple[str, str]] = []
        tree, end = _tree(left, 0, leaves)
        any_order, output = output.startswith(RESULT), output.removeprefix(RESULT)
        order = list(dict.fromkeys("".join(word for _, word in leaves) + output))
        if not arrow or end != len(left) or isinstance(tree, int) or len(order) != len(sizes):
            raise GraphError(f"{text!r} is no pattern of einsums; want e.g. '(a:ab,b:bc)->ac;n,k,m'")
        names, words = zip(*leaves, strict=True)
        return Nest(tree, names, words, output, any_order, dict(zip(order, sizes, strict=True)), scale)


@functools.lru_cache(maxsize=100_000)
def match(pattern: str, specs: tuple[str, ...]) -> Binding | None:
    """How a nest of specs, in reading order, is an instance of a pattern; None where it is not."""
    nest = Nest.parse(pattern)
    flat = flatten(nest.tree, [Spec.parse(s) for s in specs])
    if flat is None or any(len(w) != len(v) for w, v in zip(flat.inputs, nest.words, strict=True)):
        return None
    if len(flat.output) != len(nest.output):
        return None
    for table, orders in _renamings(nest, flat):
        binding = _bound(nest, flat, table, orders)
        if binding is not None:
            return binding
    return None


def flatten(tree: Tree, specs: Sequence[Spec]) -> Spec | None:
    """The n-ary einsum of a tree of specs in reading order; None where counts or ranks do not fit.

    Its letters are arbitrary characters; letters that nobody holds have become a factor.
    """
    flat = _Flat(list(specs))
    result = flat.visit(tree)
    return None if result is None or flat.queue else flat.spec(result)


class _Flat:
    """Letters of all specs of a nest, made one where they are the same dimension."""

    def __init__(self, queue: list[Spec]) -> None:
        self.queue = queue
        self._parent: dict[str, str] = {}
        self._sizes: dict[str, int] = {}
        self._words: dict[int, list[str]] = {}
        self._scale: Scale = 1

    def visit(self, node: Tree) -> list[str] | None:
        """Letters of the result of an einsum, or None."""
        if not self.queue or isinstance(node, int):
            return None
        spec = self.queue.pop(0)
        if len(spec.inputs) != len(node):
            return None
        own = {c: chr(PRIVATE_LETTERS + len(self._sizes) + i) for i, c in enumerate(spec.sizes)}
        self._sizes.update({own[c]: n for c, n in spec.sizes.items()})
        self._scale *= spec.scale
        for child, word in zip(node, spec.inputs, strict=True):
            wanted = [own[c] for c in word]
            if isinstance(child, int):
                self._words[child] = wanted
            elif not self._unify(wanted, self.visit(child)):
                return None
        return [own[c] for c in spec.output]

    def spec(self, result: Sequence[str]) -> Spec:
        """All of it as one einsum."""
        inputs = tuple("".join(map(self._find, self._words[i])) for i in sorted(self._words))
        output = "".join(map(self._find, result))
        held = set("".join(inputs)) | set(output)
        for c in {self._find(c) for c in self._sizes} - held:
            self._scale *= self._sizes[c]
        return Spec(inputs, output, {c: self._sizes[c] for c in held}, self._scale)

    def _unify(self, wanted: Sequence[str], made: Sequence[str] | None) -> bool:
        if made is None or len(made) != len(wanted):
            return False
        for mine, theirs in zip(wanted, made, strict=True):
            if self._find(mine) != self._find(theirs):
                self._parent[self._find(mine)] = self._find(theirs)
        return True

    def _find(self, c: str) -> str:
        while c in self._parent:
            c = self._parent[c]
        return c


def _renamings(nest: Nest, flat: Spec) -> Iterator[tuple[dict[str, str], dict[str, tuple[int, ...]]]]:
    """Pairs of letter table (of the specs to the pattern) and orders of the named leaves."""
    names = [*nest.names, RESULT if nest.any_order else ""]
    pairs = sorted(zip(names, [*nest.words, nest.output], [*flat.inputs, flat.output], strict=True), key=lambda p: p[0])

    def extend(
        rest: Sequence[tuple[str, str, str]], table: dict[str, str], orders: dict[str, tuple[int, ...]]
    ) -> Iterator[tuple[dict[str, str], dict[str, tuple[int, ...]]]]:
        if not rest:
            yield table, orders
            return
        name, want, have = rest[0]
        plain = tuple(range(len(want)))
        tries: Iterator[tuple[int, ...]] = iter([orders[name]] if name in orders else [plain])
        if name and name not in orders:
            tries = itertools.permutations(plain)
        for order in tries:
            new = _renamed(table, have, [want[i] for i in order])
            if new is not None:
                yield from extend(rest[1:], new, {**orders, name: order} if name else orders)

    yield from extend(pairs, {}, {})


def _renamed(table: Mapping[str, str], have: str, want: Sequence[str]) -> dict[str, str] | None:
    """The table with letters of ``have`` standing for those of ``want``, one to one."""
    new = dict(table)
    taken = {v: k for k, v in new.items()}
    for mine, theirs in zip(have, want, strict=True):
        if new.setdefault(mine, theirs) != theirs or taken.setdefault(theirs, mine) != mine:
            return None
    return new


def _bound(nest: Nest, flat: Spec, table: Mapping[str, str], orders: Mapping[str, tuple[int, ...]]) -> Binding | None:
    sizes: dict[str, int] = {}
    for mine, theirs in table.items():
        name = nest.sizes[theirs]
        if name.isidentifier() and sizes.setdefault(name, flat.sizes[mine]) != flat.sizes[mine]:
            return None
    turned = {name: order for name, order in orders.items() if order != tuple(range(len(order)))}
    binding = Binding(sizes, turned)
    scale = binding.value(nest.scale)
    if scale is None or not math.isclose(scale, flat.scale, rel_tol=TOLERANCE):
        return None
    for mine, theirs in table.items():
        size = binding.size(nest.sizes[theirs])
        if size is not None and size != flat.sizes[mine]:
            return None
    return binding


def _tree(text: str, start: int, leaves: list[tuple[str, str]]) -> tuple[Tree, int]:
    """The tree that begins at ``start`` and where it ends; leaves are collected as names and words."""
    if text[start : start + 1] != "(":
        leaf = _LEAF.match(text, start)
        assert leaf is not None, "an empty word is a leaf too"
        leaves.append((leaf.group(1) or "", leaf.group(2)))
        return len(leaves) - 1, leaf.end()
    children: list[Tree] = []
    while text[start : start + 1] in ("(", ","):
        child, start = _tree(text, start + 1, leaves)
        children.append(child)
    return tuple(children), start + 1
