# SPDX-License-Identifier: Apache-2.0
"""Builds random instances of a rule's left side.

The terms of the rule are built from the top: the surroundings say which shape and element type they want, a chooser
proposes attributes and operand types, the type rule of the operation decides. Conditions are asked in plain Python, so
what does not meet them costs microseconds; thousands of draws are made for the rarest rules.
"""

from __future__ import annotations

import random
from collections import Counter
from collections.abc import Sequence

from egraph_opt.engine.attributes import Argument
from egraph_opt.engine.facts import DTYPE, SHAPE
from egraph_opt.engine.sexpr import Expr, Form
from egraph_opt.engine.words import make_node, words
from egraph_opt.ir import Node, TensorType
from egraph_opt.ir.reshapes import parse_shape, shape_text
from egraph_opt.ir.spec import Spec
from egraph_opt.ir.spec_algebra import inverse
from egraph_opt.ops.declared import ASSUME
from egraph_opt.rules.check.choices import Hints, Want, choose, result_type
from egraph_opt.rules.check.instances import Instance, leaves
from egraph_opt.rules.check.premises import Premises, call_function, is_literal, is_term, is_variable, unquote
from egraph_opt.rules.check.presets import preset
from egraph_opt.rules.check.profile import MisfitError, Profile
from egraph_opt.rules.check.random_specs import draw_spec
from egraph_opt.rules.check.structured_leaves import band_of, facts_of, structured_shape

TURNS = (None, "complex128", None, "int32", None, "float32", "float64", "bool", "bfloat16", None, "uint32", None)
"""Main element types of successive instances; None leaves it to chance."""

TURN_TRIES = 25
"""Draws for an instance of the type whose turn it is."""

MOST_ELEMENTS = 20_000
"""Larger instances would only be slow."""


class Maker:
    """Builds one instance.

    Args:
        premises: what the rule asks for.
        profile: random choices.
    """

    def __init__(self, premises: Premises, profile: Profile) -> None:
        self._premises, self._profile = premises, profile
        self._instance = Instance()
        self._instance.texts.update(preset(premises, profile))
        self._known: dict[tuple[object, ...], int] = {}
        self._building: set[str] = set()
        # Open sums hold their terms by age: inputs, the oldest, would always come first.
        self._summands = {name for pair in premises.open_sums for name in pair}
        self._facts = facts_of(premises, profile)

    def make(self) -> Instance:
        """The instance.

        Raises:
            MisfitError: what was drawn does not fit, or a condition does not hold; the message says which.
        """
        made = self._instance
        roots = list(self._premises.roots)
        for name in roots:
            if name not in made.tensors:
                self._term(name, Want())
        for name in (*self._premises.frozen, *(x for pair in self._premises.open_sums for x in pair)):
            if name not in made.tensors:
                self._term(name, Want())
        made.roots = [made.tensors[name] for name in roots]
        self._conditions()
        return made

    # Terms.

    def _term(self, term: Expr, want: Want) -> int:
        if is_variable(term):
            return self._variable(str(term), want)
        if not is_term(term):
            raise MisfitError(f"{term} is no tensor")
        assert isinstance(term, Form)
        return self._apply(term, want, None)

    def _variable(self, name: str, want: Want) -> int:
        made = self._instance
        if name in made.tensors:
            self._fits(made.tensors[name], want)
            return made.tensors[name]
        want = self._hinted(name, want)
        definitions = sorted(self._premises.definitions.get(name, ()), key=lambda d: d[0] == "Einsum1")
        if name in self._building:
            raise MisfitError(f"{name} is defined by itself")
        if name in self._facts and not definitions:
            made.tensors[name] = number = self._structured_leaf(name, want)
        elif definitions:
            self._building.add(name)
            made.tensors[name] = number = self._apply(definitions[0], want, None)
            self._building.discard(name)
            for other in definitions[1:]:
                self._also(number, definitions[0], other)
        else:
            made.tensors[name] = number = self._leaf(want, summand=name in self._summands)
        self._fits(number, want)
        self._note_types(name)
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

    def _apply(self, term: Form, want: Want, operands: Sequence[int] | None) -> int:
        """The node of a constructor; its operands are built unless they are given."""
        name, profile, made = str(term[0]), self._profile, self._instance
        word = words()[name]
        parts = term[1:]
        if len(parts) != len(word.constructor.arguments):
            raise MisfitError(f"{name} takes {len(word.constructor.arguments)} arguments")
        given = parts[0] if word.constructor.has_text else None
        parts = parts[1:] if word.constructor.has_text else parts
        text = self._text(given) if given is not None else ""
        numbers: list[int | None] = list(operands) if operands is not None else [None] * len(parts)
        for i, part in enumerate(parts):
            if numbers[i] is None and isinstance(part, str) and part in made.tensors:
                numbers[i] = made.tensors[part]
        self._free_first(parts, numbers, want)
        known = [made.nodes[n].type if n is not None else None for n in numbers]
        hints = Hints()
        if given is not None and text is None and name in ("Einsum1", "Einsum2"):
            hints = Hints(self._premises.letters_of(str(given)), self._premises.scale_of(str(given)))
        found, types = choose(profile, name, known, want, text or None, hints)
        if given is not None and text is None:
            self._bind_text(str(given), found)
        # Plain variables first: what they turn out to be may decide what is computed from them.
        order = sorted(range(len(parts)), key=lambda i: is_term(parts[i]))
        for i in order:
            if numbers[i] is None:
                # A variable that stands twice was built a moment ago; whether it fits twice the type rule says.
                built = made.tensors.get(str(parts[i])) if is_variable(parts[i]) else None
                wanted = Want(types[i].shape, types[i].dtype)
                numbers[i] = built if built is not None else self._term(parts[i], wanted)
        final = [n for n in numbers if n is not None]
        number = self._node(name, found, final)
        self._fits(number, want)
        return number

    def _free_first(self, parts: Sequence[Expr], numbers: list[int | None], want: Want) -> None:
        """Build one compound operand before the types are chosen: it may be fixed by what is written in it."""
        compound = [i for i, part in enumerate(parts) if numbers[i] is None and self._is_compound(part)]
        self._profile.rng.shuffle(compound)
        free = want.shape is None or self._profile.chance(0.3)
        for i in compound[: 1 if free else 0]:
            numbers[i] = self._term(parts[i], Want())
        for i in range(len(parts)):
            if numbers[i] is None and isinstance(parts[i], Form) and parts[i][0] == "Constant":
                dtype = want.dtype if want.dtype and is_variable(parts[i][1]) else None
                numbers[i] = self._term(parts[i], Want(None, dtype))

    def _is_compound(self, part: Expr) -> bool:
        known = part in self._premises.definitions or part in self._facts
        return (isinstance(part, Form) and part[0] != "Constant") or known

    def _node(self, name: str, text: str, operands: Sequence[int]) -> int:
        type_ = result_type(name, text, [self._instance.nodes[n].type for n in operands])
        if type_ is None:
            raise MisfitError(f"{name} of such operands is ill-typed")
        key = (name, text, tuple(operands))
        if key not in self._known:
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
            text = self._text(other[1])
            if text is None:
                spec = Spec.parse(draw_spec(self._profile, [None], type_.shape, type_.dtype))
                if not spec.is_permutation:
                    raise MisfitError("only transposes can be undone")
                text = str(spec)
                self._bind_text(str(other[1]), text)
            back = inverse(text)
            if back is None:
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

    # Texts and conditions.

    def _text(self, expr: Expr) -> str | None:
        """Value of a text expression; None for a variable that nothing fixes yet."""
        if is_literal(expr):
            return unquote(str(expr))
        if isinstance(expr, str):
            if expr in self._instance.texts:
                return self._instance.texts[expr]
            return self._computed(expr)
        if expr and expr[0] in (SHAPE, DTYPE) and expr[1] in self._instance.tensors:
            return self._type_text(str(expr[0]), self._instance.tensors[str(expr[1])])
        return None

    def _computed(self, name: str) -> str | None:
        """Value of a variable that an attribute function gives, if its arguments are there."""
        for wanted, call in self._premises.equations:
            if wanted == name and call[0] != "letters":
                arguments = [self._argument(a) for a in call[1:]]
                if any(a is None for a in arguments):
                    continue
                found = self._ask(call, [a for a in arguments if a is not None])
                self._bind_text(name, found)
                return found
        return None

    def _bind_text(self, name: str, value: str) -> None:
        if is_variable(name) and self._instance.texts.setdefault(name, value) != value:
            raise MisfitError(f"{name} has two values")

    def _argument(self, expr: Expr) -> Argument | None:
        if isinstance(expr, str) and expr.lstrip("-").isdigit():
            return int(expr)
        return self._text(expr)

    def _ask(self, call: Form, arguments: Sequence[Argument]) -> str:
        result = call_function(call, arguments)
        if result is None or result is False:
            raise MisfitError(f"{call} does not hold")
        return result if isinstance(result, str) else ""

    def _hinted(self, name: str, want: Want) -> Want:
        """The want joined with what type facts say of a variable."""
        shape, dtype = want.shape, want.dtype
        for fact, wanted, variable in self._premises.types:
            if variable != name:
                continue
            text = self._text(wanted)
            if text is None:
                continue
            if fact == SHAPE:
                if shape is not None and shape_text(shape) != text:
                    raise MisfitError(f"the shape of {name} is not {text}")
                shape = parse_shape(text)
            else:
                if dtype not in (None, text):
                    raise MisfitError(f"the element type of {name} is not {text}")
                dtype = text
        return Want(shape, dtype)

    def _note_types(self, name: str) -> None:
        for fact, wanted, variable in self._premises.types:
            if variable == name and is_variable(wanted):
                self._bind_text(str(wanted), self._type_text(fact, self._instance.tensors[name]))

    def _type_text(self, fact: str, number: int) -> str:
        type_ = self._instance.nodes[number].type
        return shape_text(type_.shape) if fact == SHAPE else type_.dtype

    def _conditions(self) -> None:
        """Check everything that Python can decide."""
        made = self._instance
        self._check_types()
        for wanted, name in self._premises.bands:
            self._bind_text(str(wanted), band_of(self._facts[name], made.nodes[made.tensors[name]].type.shape))
        self._check_equations()
        for left, right in self._premises.same:
            if self._text(left) != self._text(right) or made.tensors.get(left) != made.tensors.get(right):
                raise MisfitError(f"{left} is not {right}")
        for one, other in self._premises.distinct:
            if isinstance(one, str) and isinstance(other, str):
                self._differ(one, other)
        for x, y in self._premises.open_sums:
            if made.tensors[x] == made.tensors[y]:
                raise MisfitError("a sum of equal terms is collected, not open")
        for name in self._premises.frozen:
            made.frozen |= leaves(made, made.tensors[name])

    def _check_types(self) -> None:
        made = self._instance
        for fact, wanted, variable in self._premises.types:
            if variable not in made.tensors:
                raise MisfitError(f"{variable} is no tensor of the rule")
            text = self._type_text(fact, made.tensors[variable])
            value = self._text(wanted)
            if value is None:
                self._bind_text(str(wanted), text)
            elif value != text:
                raise MisfitError(f"({fact} {variable}) is not {wanted}")

    def _check_equations(self) -> None:
        for wanted, call in self._premises.equations:
            arguments = [self._argument(a) for a in call[1:]]
            if any(a is None for a in arguments):
                raise MisfitError(f"{call} has an argument that nothing fixes")
            found = self._ask(call, [a for a in arguments if a is not None])
            if wanted is None:
                continue
            value = self._text(wanted)
            if value is None:
                self._bind_text(str(wanted), found)
            elif value != found:
                raise MisfitError(f"{call} is not {wanted}")

    def _differ(self, one: str, other: str) -> None:
        tensors = self._instance.tensors
        if one in tensors and tensors.get(one) == tensors.get(other):
            raise MisfitError(f"{one} and {other} are the same")
        left, right = self._text(one), self._text(other)
        if left is not None and left == right:
            raise MisfitError(f"{one} and {other} are the same")


def draw_instances(
    premises: Premises,
    rng: random.Random,
    count: int,
    tries: int,
    small: bool = False,
    dtypes: Sequence[str] = (),
) -> tuple[list[Instance], Counter[str]]:
    """Instances, and how often what stood against one.

    Args:
        premises: what the rule asks for.
        rng: source of randomness.
        count: how many to build.
        tries: draws to spend at most.
        small: small sizes and ranks.
        dtypes: element types to draw from; all of them without it.
    """
    made: list[Instance] = []
    against: Counter[str] = Counter()
    asked = since = 0
    for _ in range(tries):
        if len(made) == count:
            break
        # Every kind of element type has its turn, as far as the rule takes it; so have empty tensors.
        turn = TURNS[len(made) % len(TURNS)] if since < TURN_TRIES and not dtypes else None
        since = since + 1 if len(made) == asked else 0
        asked = len(made)
        try:
            instance = Maker(premises, Profile(rng, small, (turn,) if turn else dtypes, len(made) % 20 == 13)).make()
        except MisfitError as misfit:
            against[str(misfit)] += 1
            continue
        if instance.elements <= MOST_ELEMENTS:
            made.append(instance)
    return made, against
