# SPDX-License-Identifier: Apache-2.0
"""Builds random instances of a rule's left side.

The terms of the rule are built from the top: the surroundings say which shape and element type they want, a chooser
proposes attributes and operand types, the type rule of the operation decides. Conditions are asked in plain Python as
soon as they can be. What does not fit is drawn again where it stands, a few times, before the instance is given up.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import NamedTuple

from egraph_opt.engine.sexpr import Expr, Form
from egraph_opt.engine.words import make_node, words
from egraph_opt.ir import Node, TensorType
from egraph_opt.ir.spec import Spec
from egraph_opt.ir.spec_algebra import inverse
from egraph_opt.ir.types import is_integer
from egraph_opt.ops import Trait, get_op
from egraph_opt.ops.declared import ASSUME
from egraph_opt.rules.check.choices import (
    CHOOSERS,
    MIXED,
    Choice,
    Hints,
    Known,
    Want,
    choose,
    fitting,
    is_by_example,
    result_type,
    results,
)
from egraph_opt.rules.check.conditions import Conditions
from egraph_opt.rules.check.decided import is_decided, shape_under
from egraph_opt.rules.check.instances import Instance
from egraph_opt.rules.check.premises import Premises, is_term, is_variable
from egraph_opt.rules.check.presets import preset
from egraph_opt.rules.check.product_presets import product_texts
from egraph_opt.rules.check.profile import MisfitError, Profile
from egraph_opt.rules.check.random_specs import draw_spec
from egraph_opt.rules.check.structured_leaves import facts_of, structured_shape

TRIES = 4
"""Draws of one term before what is around it is drawn again."""


class Effort(NamedTuple):
    """How much is drawn again before an instance is given up.

    Args:
        choices: draws of the attributes of one operation.
        terms: terms of one instance that are drawn again.
    """

    choices: int
    terms: int


class _Mark(NamedTuple):
    """How far an instance was built."""

    nodes: int
    unions: int
    tensors: dict[str, int]
    texts: dict[str, str]
    derived: dict[int, tuple[str, int]]
    structured: dict[int, tuple[str, ...]]
    known: dict[tuple[object, ...], int]
    building: set[str]
    pending: tuple[int, ...]


class Maker:
    """Builds one instance.

    Args:
        premises: what the rule asks for.
        profile: random choices.
        effort: how often what does not fit is drawn again.
    """

    def __init__(self, premises: Premises, profile: Profile, effort: Effort) -> None:
        self.steps = 0
        self._premises, self._profile = premises, profile
        self._instance = Instance()
        self._instance.texts.update(product_texts(premises, profile) or preset(premises, profile))
        self._known: dict[tuple[object, ...], int] = {}
        self._building: set[str] = set()
        # Open sums hold their terms by age: inputs, the oldest, would always come first.
        self._summands = {name for pair in premises.open_sums for name in pair}
        self._facts = facts_of(premises, profile)
        self._conditions = Conditions(premises, self._instance, self._facts)
        self._conditions.draw_types(profile)
        self._effort, self._patience = effort, effort.terms

    def make(self) -> Instance:
        """The instance.

        Raises:
            MisfitError: what was drawn does not fit, or a condition does not hold; the message says which.
        """
        made = self._instance
        roots = list(self._premises.roots)
        decided = is_decided(self._premises, self._conditions, self._profile)
        for name in roots:
            if name not in made.tensors:
                self._upwards(name) if decided else self._term(name, Want())
        for name in (*self._premises.frozen, *(x for pair in self._premises.open_sums for x in pair)):
            if name not in made.tensors:
                self._term(name, Want())
        made.roots = [made.tensors[name] for name in roots]
        self._conditions.final()
        return made

    # Terms of which nothing is left to choose.

    def _upwards(self, term: Expr) -> int:
        """The node of a term, its operands first."""
        made = self._instance
        if isinstance(term, str):
            if term in made.tensors:
                return made.tensors[term]
            definitions = self._premises.definitions.get(term)
            want = self._conditions.hinted(term, Want())
            shape = want.shape if want.shape is not None else shape_under(term, self._premises, self._conditions)
            leaf = Want(shape, want.dtype or self._profile.main)
            number = self._upwards(definitions[0]) if definitions else self._leaf(leaf, summand=term in self._summands)
            made.tensors[term] = number
            self._fits(number, want)
            self._conditions.note_types(term)
            return number
        word = words()[str(term[0])]
        self.steps += 1
        text = self._conditions.text(term[1]) if word.constructor.has_text else ""
        return self._node(
            str(term[0]), text or "", [self._upwards(p) for p in term[2 if word.constructor.has_text else 1 :]]
        )

    # Terms.

    def _term(self, term: Expr, want: Want) -> int:
        if is_variable(term):
            return self._variable(str(term), want)
        if not is_term(term):
            raise MisfitError(f"{term} is no tensor")
        assert isinstance(term, Form)
        return self._apply(term, want)

    def _variable(self, name: str, want: Want) -> int:
        made = self._instance
        if name in made.tensors:
            self._fits(made.tensors[name], want)
            return made.tensors[name]
        want = self._conditions.hinted(name, want)
        definitions = sorted(self._premises.definitions.get(name, ()), key=lambda d: d[0] == "Einsum1")
        if name in self._building:
            raise MisfitError(f"{name} is defined by itself")
        if name in self._facts and not definitions:
            made.tensors[name] = number = self._structured_leaf(name, want)
        elif definitions:
            self._building.add(name)
            made.tensors[name] = number = self._apply(definitions[0], want)
            self._building.discard(name)
            for other in definitions[1:]:
                self._also(number, definitions[0], other)
        else:
            made.tensors[name] = number = self._leaf(want, summand=name in self._summands)
        self._fits(number, want)
        self._conditions.note_types(name)
        return number

    def _structured_leaf(self, name: str, want: Want) -> int:
        """An input with the structure that the rule asks for, stated of it."""
        facts = self._facts[name]
        shape = structured_shape(facts, want.shape, self._profile)
        leaf = self._leaf(Want(shape, want.dtype), plain=True)
        self._instance.structured[leaf] = facts
        type_ = self._instance.nodes[leaf].type
        if name in self._summands and self._profile.chance(0.6):
            leaf = self._append(Node("copy", (leaf,), (), (type_,)))
        return self._append(Node(ASSUME, (leaf,), (("facts", facts),), (type_,)))

    def _leaf(self, want: Want, plain: bool = False, summand: bool = False) -> int:
        """An input, one that is there already, or a copy of one: what the rule sees need not be the oldest node."""
        profile = self._profile
        dtype = want.dtype or profile.dtype()
        shape = want.shape if want.shape is not None else profile.shape()
        if not plain and profile.chance(0.08):
            alike = [n for n in self._instance.inputs if self._instance.nodes[n].type == TensorType(shape, dtype)]
            if alike:
                return profile.rng.choice(alike)
        type_ = TensorType(shape, dtype)
        leaf = self._append(Node("input", (), (("index", len(self._instance.inputs)),), (type_,)))
        wrapped = not plain and profile.chance(0.6 if summand else 0.0 if profile.small else 0.2)
        return self._append(Node("copy", (leaf,), (), (type_,))) if wrapped else leaf

    def _apply(self, term: Form, want: Want) -> int:
        """The node of a constructor and its operands; what does not fit is drawn again."""
        for left in reversed(range(TRIES)):
            mark = self._mark()
            try:
                return self._attempt(term, want)
            except MisfitError:
                if not left or self._patience <= 0:
                    raise
                self._patience -= 1
                self._rewind(mark)
        raise AssertionError("the last try returns or raises")

    def _attempt(self, term: Form, want: Want) -> int:
        name, made = str(term[0]), self._instance
        word = words()[name]
        parts = term[1:]
        if len(parts) != len(word.constructor.arguments):
            raise MisfitError(f"{name} takes {len(word.constructor.arguments)} arguments")
        given = parts[0] if word.constructor.has_text else None
        parts = parts[1:] if word.constructor.has_text else parts
        text = self._conditions.text(given) if given is not None else ""
        numbers = [made.tensors.get(part) if isinstance(part, str) else None for part in parts]
        dtype = self._dtype_of(name, parts, want)
        self._free_first(name, parts, numbers, want, dtype)
        known = [made.nodes[n].type if n is not None else None for n in numbers]
        shapes = tuple(self._conditions.shape(p) if n is None else None for p, n in zip(parts, numbers, strict=True))
        found, types = self._chosen(name, known, want, given, text, Hints(dtype=dtype, shapes=shapes))
        # Plain variables first: what they turn out to be may decide what is computed from them.
        for i in sorted(range(len(parts)), key=lambda i: is_term(parts[i])):
            if numbers[i] is None:
                # A variable that stands twice was built a moment ago; whether it fits twice the type rule says.
                built = made.tensors.get(str(parts[i])) if is_variable(parts[i]) else None
                wanted = Want(types[i].shape, types[i].dtype)
                numbers[i] = built if built is not None else self._term(parts[i], wanted)
        number = self._node(name, found, [n for n in numbers if n is not None])
        self._fits(number, want)
        self._conditions.ready()
        return number

    def _chosen(
        self, name: str, known: Known, want: Want, given: Expr | None, text: str | None, hints: Hints
    ) -> Choice:
        """Attributes and operand types that meet every condition which they decide."""
        made, conditions = self._instance, self._conditions
        if given is not None and text is None and name in ("Einsum1", "Einsum2"):
            letters, scale = self._premises.letters_of(str(given)), self._premises.scale_of(str(given))
            hints = replace(hints, letters=letters, scale=scale)
        for left in reversed(range(self._effort.choices if given is not None and text is None else 1)):
            texts, pending = dict(made.texts), conditions.pending
            self.steps += 1
            try:
                choice = choose(self._profile, name, known, want, text or None, hints)
                if given is not None and text is None:
                    conditions.bind(str(given), choice[0])
                    conditions.ready()
                return choice
            except MisfitError:
                made.texts, conditions.pending = texts, pending
                if not left:
                    raise
        raise AssertionError("the last choice returns or raises")

    def _free_first(
        self, name: str, parts: Sequence[Expr], numbers: list[int | None], want: Want, dtype: str | None
    ) -> None:
        """Build some operands before the types are chosen: what stands twice, and what may fix itself."""
        op = get_op(words()[name].op)
        for i, part in enumerate(parts):
            if numbers[i] is None and is_variable(part) and part in parts[:i]:
                numbers[i] = numbers[parts.index(part)] = self._term(part, Want(None, dtype))
        compound = [i for i, part in enumerate(parts) if numbers[i] is None and self._is_compound(part)]
        fixed = [i for i in compound if self._is_fixed(parts[i])]
        for i in fixed:
            numbers[i] = self._term(parts[i], Want(None, dtype))
        compound = [i for i in compound if i not in fixed]
        self._profile.rng.shuffle(compound)
        often = 0.0 if is_by_example(op.name) else 0.3 if op.name in CHOOSERS or want.shape is not None else 1.0
        free = not fixed and self._profile.chance(often)
        for i in compound[: 1 if free else 0]:
            numbers[i] = self._term(parts[i], Want(None, dtype))
        for i, part in enumerate(parts):
            if numbers[i] is None and isinstance(part, Form) and part[0] == "Constant":
                numbers[i] = self._term(part, Want(None, dtype or (want.dtype if is_variable(part[1]) else None)))

    def _dtype_of(self, name: str, parts: Sequence[Expr], want: Want) -> str | None:
        """Element type of the operands, where something fixes it or the main one will not do."""
        table = results(name)
        if not table or words()[name].op in MIXED:
            return None
        hinted = next((d for part in parts if (d := self._dtype_hint(part, 0)) is not None), None)
        if hinted is not None:
            return hinted
        taken = fitting(name, want)
        return None if self._profile.main in taken else self._profile.rng.choice(taken)

    def _dtype_hint(self, part: Expr, depth: int) -> str | None:
        """Element type of a term that is not built yet, where something in it fixes that."""
        made = self._instance
        if isinstance(part, str) and is_variable(part):
            if part in made.tensors:
                return made.nodes[made.tensors[part]].type.dtype
            dtype = self._conditions.hinted(part, Want()).dtype
            if dtype is not None or depth > 4:
                return dtype
            found = (self._dtype_hint(d, depth + 1) for d in self._premises.definitions.get(part, ()))
            return next((d for d in found if d is not None), None)
        if not isinstance(part, Form) or not is_term(part):
            return None
        if words()[str(part[0])].op in MIXED:
            return None
        table = results(str(part[0]))
        inner = (self._dtype_hint(p, depth + 1) for p in part[1:])
        return table.get(next((d for d in inner if d is not None), ""))

    def _is_compound(self, part: Expr) -> bool:
        known = part in self._premises.definitions or part in self._facts
        return (isinstance(part, Form) and part[0] != "Constant") or known

    def _is_fixed(self, part: Expr) -> bool:
        """Whether the shape of a term follows from specs that are known already."""
        if isinstance(part, str):
            return part not in self._building and any(map(self._is_fixed, self._premises.definitions.get(part, ())))
        if not is_term(part):
            return False
        op = get_op(words()[str(part[0])].op)
        if op.name in ("einsum", "reshape"):
            return self._conditions.text(part[1]) is not None
        return (op.name == "add" or Trait.ELEMENTWISE in op.traits) and any(map(self._is_fixed, part[1:]))

    def _node(self, name: str, text: str, operands: Sequence[int]) -> int:
        key = (name, text, tuple(operands))
        if key not in self._known:
            type_ = result_type(name, text, [self._instance.nodes[n].type for n in operands])
            if type_ is None:
                raise MisfitError(f"{name} of such operands is ill-typed")
            self._known[key] = self._append(make_node(name, text, operands, (type_,)))
        return self._known[key]

    def _append(self, node: Node) -> int:
        self._instance.nodes.append(node)
        return len(self._instance.nodes) - 1

    def _fits(self, number: int, want: Want) -> None:
        type_ = self._instance.nodes[number].type
        if want.shape not in (None, type_.shape) or want.dtype not in (None, type_.dtype):
            raise MisfitError("terms of different types meet")

    def _also(self, number: int, first: Form, other: Form) -> None:
        """Let an existing node have a second form: as the transpose of a new tensor, or by the same operands."""
        type_ = self._instance.nodes[number].type
        if other[0] == "Einsum1" and is_variable(other[2]) and other[2] not in self._instance.tensors:
            text = self._conditions.text(other[1])
            if text is None:
                spec = Spec.parse(draw_spec(self._profile, [None], type_.shape, type_.dtype))
                if not spec.is_permutation:
                    raise MisfitError("only transposes can be undone")
                text = str(spec)
                self._conditions.bind(str(other[1]), text)
            back = inverse(text)
            if back is None or (is_integer(type_.dtype) and Spec.parse(text).scale not in (1, -1)):
                raise MisfitError("the einsum cannot be undone")
            leaf = self._leaf(Want(Spec.parse(back).shape, type_.dtype), plain=True)
            self._instance.derived[leaf] = (back, number)
            self._instance.tensors[str(other[2])] = leaf
            self._instance.unions.append((self._node("Einsum1", text, [leaf]), number))
            return
        if other[0] == first[0] and len(other) == len(first):
            for mine, theirs in zip(first[1:], other[1:], strict=True):
                if is_variable(theirs) and is_variable(mine):
                    value, table = (self._instance.texts, self._instance.texts)
                    if mine in self._instance.tensors:
                        self._instance.tensors.setdefault(str(theirs), self._instance.tensors[str(mine)])
                    elif mine in value:
                        table.setdefault(str(theirs), value[str(mine)])
            return
        raise MisfitError(f"no tensor is both {first} and {other}")

    def _mark(self) -> _Mark:
        made = self._instance
        return _Mark(
            len(made.nodes), len(made.unions), dict(made.tensors), dict(made.texts), dict(made.derived),
            dict(made.structured), dict(self._known), set(self._building), self._conditions.pending,
        )  # fmt: skip

    def _rewind(self, mark: _Mark) -> None:
        made = self._instance
        del made.nodes[mark.nodes :], made.unions[mark.unions :]
        made.tensors, made.texts, made.derived = dict(mark.tensors), dict(mark.texts), dict(mark.derived)
        made.structured, self._known, self._building = dict(mark.structured), dict(mark.known), set(mark.building)
        self._conditions.pending = mark.pending
