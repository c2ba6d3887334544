# SPDX-License-Identifier: Apache-2.0
"""What a rule asks of an instance while it is built: texts that follow from others, and conditions on them.

A condition is asked when the last of its arguments is known: what does not meet it is then drawn again at that place,
and not the whole instance.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from egraph_opt.engine.attributes import Argument
from egraph_opt.engine.facts import DTYPE, SHAPE
from egraph_opt.engine.sexpr import Expr
from egraph_opt.ir.reshapes import Shape, parse_shape, shape_text
from egraph_opt.rules.check.asked import Asked, is_literal, unquote
from egraph_opt.rules.check.choices import Want
from egraph_opt.rules.check.instances import Instance, leaves
from egraph_opt.rules.check.premises import Premises, is_variable
from egraph_opt.rules.check.profile import DTYPES, MisfitError, Profile
from egraph_opt.rules.check.structured_leaves import band_of


class Conditions:
    """The conditions of a rule on one instance.

    Args:
        premises: what the rule asks for.
        made: the instance, as far as it is built.
        facts: of variables with structure.
    """

    def __init__(self, premises: Premises, made: Instance, facts: Mapping[str, Sequence[str]]) -> None:
        self._premises, self._made, self._facts = premises, made, facts
        self.pending: tuple[int, ...] = tuple(range(len(premises.equations)))

    def text(self, expr: Expr) -> str | None:
        """Value of a text expression; None for a variable that nothing fixes yet."""
        if is_literal(expr):
            return unquote(str(expr))
        if isinstance(expr, str):
            found = self._made.texts.get(expr)
            return found if found is not None else self._computed(expr)
        if expr and expr[0] in (SHAPE, DTYPE) and expr[1] in self._made.tensors:
            return self._type_text(str(expr[0]), self._made.tensors[str(expr[1])])
        return None

    def bind(self, name: str, value: str) -> None:
        """Fix a text variable.

        Raises:
            MisfitError: it has another value.
        """
        if is_variable(name) and self._made.texts.setdefault(name, value) != value:
            raise MisfitError(f"{name} has two values")

    def hinted(self, name: str, want: Want) -> Want:
        """The want joined with what type facts say of a variable.

        Raises:
            MisfitError: they say something else.
        """
        shape, dtype = want.shape, want.dtype
        for fact, wanted in self._premises.types_of.get(name, ()):
            text = self.text(wanted)
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

    def shape(self, part: Expr) -> Shape | None:
        """The shape that type facts want of an operand that is a variable, if they say one."""
        if not isinstance(part, str) or part not in self._premises.types_of:
            return None
        return self.hinted(part, Want()).shape

    def note_types(self, name: str) -> None:
        """Fix the texts that are shape and element type of a tensor."""
        for fact, wanted in self._premises.types_of.get(name, ()):
            if is_variable(wanted):
                self.bind(str(wanted), self._type_text(fact, self._made.tensors[name]))

    def draw_types(self, profile: Profile) -> None:
        """Fix the element types of which conditions ask something, before anything is built."""
        for fact, wanted, _ in self._premises.types:
            if fact != DTYPE or not is_variable(wanted) or wanted in self._made.texts:
                continue
            asks = [asked for asked in self._premises.asked if asked.wanted is None and asked.asks_alone(wanted)]
            if not asks:
                continue
            fitting = [d for d in DTYPES if all(asked.holds(wanted, d) for asked in asks)]
            if not fitting:
                raise MisfitError(f"no element type is as {asks[0]} wants it")
            chosen = profile.main if profile.main in fitting else profile.rng.choice(fitting)
            self._made.texts[str(wanted)] = profile.main = chosen

    def ready(self) -> None:
        """Ask every condition whose arguments are known by now.

        Raises:
            MisfitError: one of them does not hold.
        """
        progress = True
        while progress and self.pending:
            progress = False
            for number in self.pending:
                asked = self._premises.asked[number]
                arguments = self._arguments(asked)
                if arguments is not None:
                    self.pending = tuple(n for n in self.pending if n != number)
                    self._decide(asked, arguments)
                    progress = True

    def final(self) -> None:
        """Check everything that Python can decide, and freeze what must be frozen.

        Raises:
            MisfitError: something is not as the rule wants it.
        """
        made, premises = self._made, self._premises
        self._check_types()
        for wanted, name in premises.bands:
            self.bind(str(wanted), band_of(self._facts[name], made.nodes[made.tensors[name]].type.shape))
        self.ready()
        if self.pending:
            raise MisfitError(f"{premises.equations[self.pending[0]][1]} has an argument that nothing fixes")
        for left, right in premises.same:
            self._share(left, right)
            if self.text(left) != self.text(right) or made.tensors.get(left) != made.tensors.get(right):
                raise MisfitError(f"{left} is not {right}")
        for one, other in premises.distinct:
            if isinstance(one, str) and isinstance(other, str):
                self._differ(one, other)
        for x, y in premises.open_sums:
            if made.tensors[x] == made.tensors[y]:
                raise MisfitError("a sum of equal terms is collected, not open")
        for name in premises.frozen:
            made.frozen |= leaves(made, made.tensors[name])

    def _share(self, one: str, other: str) -> None:
        """Let a variable that stands in an equation alone be what the other one is."""
        for table in (self._made.tensors, self._made.texts):
            known: dict[str, int | str] = table  # type: ignore[assignment]
            for name, source in ((one, other), (other, one)):
                if is_variable(name) and name not in known and source in known:
                    known[name] = known[source]

    def _computed(self, name: str) -> str | None:
        """Value of a variable that an attribute function gives, if its arguments are there."""
        for asked in self._premises.computing.get(name, ()):
            arguments = self._arguments(asked)
            if arguments is not None:
                found = asked.answer(arguments)
                self.bind(name, found)
                return found
        return None

    def _arguments(self, asked: Asked) -> list[Argument] | None:
        """Arguments of a call; None where one of them is not known yet."""
        found: list[Argument] = []
        for expr, written in asked.arguments:
            argument = written if written is not None else self.text(expr)
            if argument is None:
                return None
            found.append(argument)
        return found

    def _decide(self, asked: Asked, arguments: Sequence[Argument]) -> None:
        found, wanted = asked.answer(arguments), asked.wanted
        if wanted is None:
            return
        value = self.text(wanted)
        if value is None:
            self.bind(str(wanted), found)
        elif value != found:
            raise MisfitError(f"{asked} is not {wanted}")

    def _type_text(self, fact: str, number: int) -> str:
        type_ = self._made.nodes[number].type
        return shape_text(type_.shape) if fact == SHAPE else type_.dtype

    def _check_types(self) -> None:
        made = self._made
        for fact, wanted, variable in self._premises.types:
            if variable not in made.tensors:
                raise MisfitError(f"{variable} is no tensor of the rule")
            text = self._type_text(fact, made.tensors[variable])
            value = self.text(wanted)
            if value is None:
                self.bind(str(wanted), text)
            elif value != text:
                raise MisfitError(f"({fact} {variable}) is not {wanted}")

    def _differ(self, one: str, other: str) -> None:
        tensors = self._made.tensors
        if one in tensors and tensors.get(one) == tensors.get(other):
            raise MisfitError(f"{one} and {other} are the same")
        left, right = self.text(one), self.text(other)
        if left is not None and left == right:
            raise MisfitError(f"{one} and {other} are the same")
