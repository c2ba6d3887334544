# SPDX-License-Identifier: Apache-2.0
"""A sum over directions goes through all that treats each direction alike: ``sum_s v_s L(e_s) = L(sum_s v_s e_s)``.

``jacfwd(f)(x) @ v`` sends a whole basis through ``f`` and sums it afterwards. Products and sums are regrouped by the
search; what it does not pass is passed here: selections whose mask is the same in all directions, divisions, reshapes,
convolutions whose batch the directions are, and loops (``pushing_loops``).
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence

from egraph_opt.adjoint.terms import UNSEEN, Cut, Indices, Letters, StuckError, Term, Word, flat
from egraph_opt.ir import Graph, Node
from egraph_opt.ir.emit import Emitter
from egraph_opt.ir.spec import Scale, Spec
from egraph_opt.ir.types import is_complex, is_floating
from egraph_opt.ops import Trait, get_op

PASSED = frozenset({"select_n", "div", "conv_general_dilated", "scan"})
"""Operations that the search does not pass."""

MOVES = frozenset({"slice", "pad", "rev", "concatenate", "cumsum"})
"""Operations that it passes one at a time and in one direction; a basis is worth more than that."""

MOST_TERMS = 1_500
"""Sums that are looked at from one place of a program."""


_BELOW = frozenset({"add", "einsum", "reshape", "slice", "pad", "result"})


def has_basis(graph: Graph) -> bool:
    """Whether a program writes a diagonal, as those do that send a whole basis through a function."""
    specs = (Spec.parse(node.attr("spec")) for node in graph.nodes if node.op == "einsum" and len(node.operands) == 1)
    return any(not spec.has_distinct_output for spec in specs)


class Pushing:
    """Sums that go down through one graph.

    Args:
        graph: the program that is read.
        emitter: takes what is made.
        indices: their sizes.
        places: nodes of the program that are made already, inputs at least.
        loop: what is done at a loop, given the sum, the node of the loop and the number of the result; None to stop.
        linear: what is done at another linear operation, given the sum and its node; None to stop.
    """

    def __init__(
        self,
        graph: Graph,
        emitter: Emitter,
        indices: Indices,
        places: dict[int, int],
        loop: Callable[[Pushing, Term, int, int], int | None],
        linear: Callable[[Pushing, Term, Node], int | None],
    ) -> None:
        self.graph, self.emitter, self.indices = graph, emitter, indices
        self._places, self._loop, self._linear = places, loop, linear
        self._known: dict[tuple[Term, Letters], int] = {}
        self._deep: dict[int, bool] = {}
        self._left = MOST_TERMS
        self.passed = 0
        self.ops = PASSED | MOVES if has_basis(graph) else PASSED

    def place(self, number: int) -> int:
        """The node that a node of the program is."""
        stack = [number]
        while stack:
            top = stack[-1]
            missing = [q for q in self._read_by(top) if q not in self._places]
            if top in self._places or not missing:
                stack.pop()
                if top not in self._places:
                    self._places[top] = self._made(self.graph.nodes[top])
            else:
                stack += missing
        return self._places[number]

    def _read_by(self, number: int) -> Sequence[int]:
        """What must be placed before a node is."""
        return self.graph.nodes[number].operands

    def _made(self, node: Node) -> int:
        if node.op == "input":
            raise StuckError
        operands = [self._places[q] for q in node.operands]
        return self.emitter.emit(node, operands, Trait.ELEMENTWISE in get_op(node.op).traits)

    def start(self, number: int) -> int:
        """A node that sums, written anew.

        Raises:
            StuckError: it cannot.
        """
        node = self.graph.nodes[number]
        word = self.indices.word(node.type.shape)
        one = self.emitter.constant(1, node.type.dtype)
        return self._einsum(Term(number, word, one, (), flat(word)), node)

    def sum(self, term: Term) -> int:
        """The node of a sum, pushed down as far as that goes.

        Raises:
            StuckError: too much work, or a factor that is unseen would be needed.
        """
        single = {c for c in term.held if self.indices.count((c,)) == 1}
        if single:
            word = tuple(tuple(c for c in group if c not in single) for group in term.word)
            out = tuple(c for c in term.out if c not in single or c in term.letters)
            return self.einsum([out], term.out, [self.sum(term._replace(word=word, out=out))])
        if not term.joined:
            return self.stop(term)
        key = self.indices.renamed(term)
        if key not in self._known:
            self._left -= 1
            if self._left < 0:
                raise StuckError
            self._known[key] = self._sum(term)
        return self._known[key]

    def _sum(self, term: Term) -> int:
        node = self.graph.nodes[term.node]
        if len(node.types) != 1 or not (is_floating(node.type.dtype) or is_complex(node.type.dtype)):
            return self.stop(term)
        made: int | None = None
        if node.op == "add":
            return self.emitter.sum_of([self.sum(term._replace(node=q)) for q in node.operands], node.sources)
        if node.op == "einsum":
            return self._einsum(term, node)
        if node.op == "reshape":
            return self._reshape(term, node)
        if node.op == "select_n" and len(node.operands) == 3:
            made = self._with_steady(term, node, (1, 2), (0,))
        elif node.op == "div":
            made = self._with_steady(term, node, (0,), (1,))
        elif node.op in ("result", "scan"):
            loop, index = (node.operands[0], node.attr("index")) if node.op == "result" else (term.node, 0)
            made = self._loop(self, term, loop, index) if self.graph.nodes[loop].op == "scan" else None
        else:
            made = self._linear(self, term, node)
        if made is None:
            return self.stop(term)
        self.passed += node.op in self.ops or node.op == "result"
        return made

    def stop(self, term: Term) -> int:
        """The sum computed here.

        Raises:
            StuckError: the factor is unseen.
        """
        if term.factor == UNSEEN:
            raise StuckError
        tensor = self.emitter.reshape(self.place(term.node), self.indices.shape(term.held))
        return self.einsum([term.held, term.letters], term.out, [tensor, term.factor])

    def einsum(self, words: Sequence[Letters], out: Letters, operands: Sequence[int], scale: Scale = 1) -> int:
        """A sum of products of nodes that are made."""
        return self.indices.einsum(self.emitter, words, out, operands, scale)

    def is_deep(self, number: int) -> bool:
        """Whether a node is linear in something that only this pass passes."""
        known, stack = self._deep, [number]
        while stack:
            top = stack[-1]
            node = self.graph.nodes[top]
            below = node.operands if node.op in _BELOW else ()
            missing = [q for q in below if q not in known]
            if top in known or not missing:
                stack.pop()
                known[top] = node.op in self.ops or any(known[q] for q in below)
            else:
                stack += missing
        return known[number]

    # Sums of products.

    def _einsum(self, term: Term, node: Node) -> int:
        spec = Spec.parse(node.attr("spec"))
        names: dict[str, Letters] = {}
        for c, group in zip(spec.output, term.word, strict=True):
            first = names.setdefault(c, group)
            if first != group:
                return self._on_diagonal(term, first, group)
        for c, size in spec.sizes.items():
            names.setdefault(c, (self.indices.new(size),))
        words = [tuple(names[c] for c in word) for word in spec.inputs]
        if len(words) == 1:
            return self._copy(term, node, words[0], spec.scale)
        return self._product(term, node, words)

    def _on_diagonal(self, term: Term, one: Letters, other: Letters) -> int:
        """A sum of what is zero where two groups of indices differ: there is one group."""
        for first, second in ((one, other), (other, one)):
            if len(first) == 1 and len(second) != 1:
                return self._split(term, first[0], self.indices.shape(second))
        if self.indices.shape(one) != self.indices.shape(other):
            return self.stop(term)
        names: dict[int, int] = {}
        for p, q in zip(one, other, strict=True):
            if p == q:
                continue
            if p in term.out and q in term.out:
                return self.stop(term)
            gone, kept = (p, q) if p not in term.out else (q, p)
            names[gone] = kept
        return self._renamed(term, names)

    def _renamed(self, term: Term, names: Mapping[int, int]) -> int:
        word = tuple(tuple(names.get(c, c) for c in group) for group in term.word)
        letters = tuple(names.get(c, c) for c in term.letters)
        factor = term.factor
        if letters != term.letters and factor == UNSEEN:
            raise StuckError
        if len(set(letters)) < len(letters):
            distinct = tuple(dict.fromkeys(letters))
            factor, letters = self.einsum([letters], distinct, [factor]), distinct
        made = term._replace(word=word, factor=factor, letters=letters)
        node = self.graph.nodes[term.node]
        return self._einsum(made, node)

    def _copy(self, term: Term, node: Node, word: Word, scale: Scale) -> int:
        """A sum through copies, transposes and sums of one tensor."""
        below = set(flat(word))
        letters = tuple(c for c in term.letters if c in below or c in term.out)
        factor = term.factor
        if letters != term.letters:
            if factor == UNSEEN:
                raise StuckError
            factor = self.einsum([term.letters], letters, [factor])
        for c in set(term.held) - below - set(term.out) - set(term.letters):
            scale *= self.indices.count((c,))  # copies that are summed again
        out = tuple(c for c in term.out if c in below or c in letters)
        made = self.sum(Term(node.operands[0], word, factor, letters, out))
        return self.einsum([out], term.out, [made], scale)

    def _product(self, term: Term, node: Node, words: Sequence[Word]) -> int:
        """The factor goes to the operand that it shrinks, and the result to the other one; or the other way round."""
        held = [set(flat(word)) for word in words]
        outs: dict[int, Letters] = {}
        for k in (0, 1):
            wanted = held[1 - k] | set(term.out)
            both = dict.fromkeys((*flat(words[k]), *term.letters))
            out = tuple(c for c in both if c in wanted)
            grows = self.indices.count(out) > max(self.indices.count(held[k]), self.indices.count(term.letters))
            if held[k] - set(out) and not grows and (term.factor != UNSEEN or not held[k].isdisjoint(term.letters)):
                outs[k] = out
        q = node.operands
        if outs:
            k = min(outs, key=lambda k: (self.indices.count(outs[k]) / self.indices.count(held[k]), -q[k]))
            if term.factor == UNSEEN and not held[1 - k].isdisjoint(set(term.letters) - set(outs[k])):
                raise StuckError
            made = self.sum(Term(q[k], words[k], term.factor, term.letters, outs[k]))
            rest = Term(q[1 - k], words[1 - k], made, outs[k], term.out)
            return self.sum(rest) if self.is_deep(q[1 - k]) else self.stop(rest)
        k = max((0, 1), key=lambda k: (self.is_deep(q[k]), self.indices.count(held[k]), q[k]))
        other = tuple(dict.fromkeys(flat(words[1 - k])))
        both = dict.fromkeys((*term.letters, *other))
        letters = tuple(c for c in both if c in held[k] or c in term.out)
        most = max(self.indices.count(each) for each in (other, term.letters, held[k]))
        if term.factor == UNSEEN or self.indices.count(letters) > most:
            return self.stop(term)
        tensor = self.emitter.reshape(self.place(q[1 - k]), self.indices.shape(flat(words[1 - k])))
        image = self.einsum([flat(words[1 - k]), term.letters], letters, [tensor, term.factor])
        return self.sum(Term(q[k], words[k], image, letters, term.out))

    # Other shapes of the same elements.

    def _reshape(self, term: Term, node: Node) -> int:
        shape = self.graph.nodes[node.operands[0]].type.shape
        word = self.indices.regrouped(term.held, shape)
        if word is None:
            return self.stop(term)
        if isinstance(word, Cut):
            c, first = word
            if term.held.count(c) > 1:
                return self.stop(term)
            return self._split(term, c, (first, self.indices.count((c,)) // first))
        return self.sum(term._replace(node=node.operands[0], word=word))

    def _split(self, term: Term, letter: int, shape: Sequence[int]) -> int:
        """The sum with one index written as several."""
        parts = tuple(self.indices.new(n) for n in shape)

        def each(letters: Letters) -> Letters:
            return tuple(p for c in letters for p in (parts if c == letter else (c,)))

        word, letters, out = tuple(map(each, term.word)), each(term.letters), each(term.out)
        factor = term.factor
        if letters != term.letters:
            if factor == UNSEEN:
                raise StuckError
            factor = self.emitter.reshape(factor, self.indices.shape(letters))
        made = self.sum(Term(term.node, word, factor, letters, out))
        return self.emitter.reshape(made, self.indices.shape(term.out))

    # What is linear in some operands and reads others that are the same in all directions.

    def _with_steady(self, term: Term, node: Node, linear: Sequence[int], steady: Sequence[int]) -> int | None:
        """An elementwise operation done after the sum, where operands do not depend on what is summed."""
        parts = {k: self._thin(node.operands[k], term.word) for k in steady}
        held = {c for _, letters, _ in parts.values() for c in letters}
        out = (*term.out, *sorted(held - set(term.out)))
        inner = term._replace(out=out)
        if not inner.joined:
            return None
        operands: list[int] = []
        for k, q in enumerate(node.operands):
            if k in linear:
                alike = self.graph.nodes[q].type.shape == node.type.shape
                operands.append(self.sum(inner._replace(node=q)) if alike else self._of_number(inner, q))
            else:
                number, letters, scale = parts[k]
                tensor = self.emitter.reshape(self.place(number), self.indices.shape(letters))
                operands.append(self.einsum([letters], out if letters else (), [tensor], scale))
        made = self.emitter.elementwise(node.op, operands, node.attrs, self.indices.over(node.type, out), node.sources)
        return self.einsum([out], term.out, [made])

    def _of_number(self, term: Term, number: int) -> int:
        """The sum of a tensor all of whose elements are one number."""
        scalar = self.place(number)
        if self.emitter.scalar_value(scalar) == 0:
            return self.emitter.uniform(0, self.indices.over(self.emitter.type(scalar), term.out))
        if term.factor == UNSEEN:
            raise StuckError
        copies = self.indices.count(term.joined - set(term.letters))
        return self.einsum([(), term.letters], term.out, [scalar, term.factor], copies)

    def _thin(self, number: int, word: Word) -> tuple[int, Letters, Scale]:
        """What a tensor copies along some of its indices, and those that are left."""
        node = self.graph.nodes[number]
        if not node.type.shape:
            return number, (), 1
        if node.op == "einsum" and len(node.operands) == 1:
            spec = Spec.parse(node.attr("spec"))
            small = spec.inputs[0]
            if spec.is_copy and spec.has_distinct_output and len(set(small)) == len(small):
                names = dict(zip(spec.output, word, strict=True))
                return node.operands[0], flat(tuple(names[c] for c in small)), spec.scale
        return number, flat(word), 1
