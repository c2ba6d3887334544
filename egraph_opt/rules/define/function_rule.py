# SPDX-License-Identifier: Apache-2.0
"""Rules made of two JAX functions: both sides are captured like user code and become rule text.

The text is all there is to the rule: it can be printed, saved in a ``.egg`` file, linted and checked like any other.
Only a condition or a number that the author gave as a Python function stays behind, as an attribute function.
"""

from __future__ import annotations

import contextlib
import difflib
import inspect
import re
import warnings
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import jax

from egraph_opt._compat import x64_enabled
from egraph_opt.capture import capture
from egraph_opt.engine import Rule
from egraph_opt.engine.rule import parse_rules
from egraph_opt.errors import EgraphOptError, RuleError
from egraph_opt.ir import Graph
from egraph_opt.ir.numerics import Numerics
from egraph_opt.normalise import normalise
from egraph_opt.ops import Trait, get_op
from egraph_opt.rules.define.condition import condition_call, value_at
from egraph_opt.rules.define.left import Left, patterns
from egraph_opt.rules.define.right import write_right
from egraph_opt.rules.define.shapes import Shapes, general_shapes, given_shapes
from egraph_opt.rules.define.side import Side
from egraph_opt.rules.define.sizes import Sizes
from egraph_opt.rules.define.wording import law_of, place_of

if TYPE_CHECKING:
    from egraph_opt.rules.check.run import Verdict

DTYPES = ("float32", "int32", "bool", "complex64", "float16", "bfloat16", "int8", "int16", "uint8", "uint16", "uint32")
WIDE_DTYPES = ("float64", "int64", "uint64", "complex128")
"""Element types for which a rule is tried. It holds for those that give the same text, and which are of the same kind
as the first that fits unless it only adds, multiplies and moves: other laws are laws of real numbers."""

RING = frozenset((*DTYPES, *WIDE_DTYPES)) - {"bool"}
RULESET = "defined"
"""Stage in which rules made of functions run."""

_NAME = re.compile(r"[a-z0-9]+(-[a-z0-9]+)*")


@dataclass(frozen=True, slots=True)
class FunctionRule:
    """A rule made of two functions.

    Args:
        name: of the rule.
        text: the rule as text, in as many spellings as the e-graph has for its left side.
        rules: the same, read.
        left: the left side.
        right: the right side.
        shapes: sizes of the variables by name, for each of its ranks.
        dtypes: element types for which it holds.
    """

    name: str
    text: str
    rules: tuple[Rule, ...]
    left: Callable[..., Any]
    right: Callable[..., Any]
    shapes: tuple[Shapes, ...]
    dtypes: tuple[str, ...]

    def check(self, trials: int = 20, seed: int = 0) -> list[Verdict]:
        """Check every spelling as ``egraph-opt rules check`` does; those that pass may be used from then on."""
        from egraph_opt.rules.check.run import check_rules

        return check_rules(self.rules, trials, seed)

    def __iter__(self) -> Iterator[Rule]:
        return iter(self.rules)

    def __str__(self) -> str:
        return self.text


def define(
    left: Callable[..., Any],
    right: Callable[..., Any],
    *,
    name: str,
    numerics: str,
    shapes: Any = None,
    when: Callable[..., Any] | None = None,
    where: Mapping[str, Callable[..., Any]] | None = None,
    dtypes: str | Sequence[str] | Mapping[str, str] | None = None,
) -> FunctionRule:
    """Make a rule of two functions; see ``egraph_opt.rule``.

    Raises:
        RuleError: the functions make no rule; the message begins with the user's file and line.
    """
    path, line = place_of(left)
    try:
        return _Definition(left, right, name, numerics, when, where or {}, path, line).make(shapes, dtypes)
    except RuleError as error:
        text = str(error)
        raise RuleError(text if text.startswith(f"{path}:") else f"{path}:{line}: rule {name!r}: {text}") from None


class _Definition:
    def __init__(
        self,
        left: Callable[..., Any],
        right: Callable[..., Any],
        name: str,
        numerics: str,
        when: Callable[..., Any] | None,
        where: Mapping[str, Callable[..., Any]],
        path: str,
        line: int,
    ) -> None:
        self._left, self._right, self._when, self._where = left, right, when, where
        self._path, self._line = path, line
        if not _NAME.fullmatch(name):
            raise RuleError("the name is not kebab-case; want e.g. 'trace-of-product'")
        if numerics not in ("exact", "reassociate", "finite"):
            raise RuleError(f"numerics={numerics!r}; want 'exact', 'reassociate' or 'finite'")
        self._name, self._numerics = name, Numerics.parse(numerics)
        self._variables = _parameters(left)
        self._reads = _parameters(right)
        for free in (n for n in self._reads if n not in (*self._variables, *where)):
            raise RuleError(f"{free!r} is free on the right: the left side is over {', '.join(self._variables)}")
        self._fixed: dict[str, str] = {}
        if when is not None and (names := _parameters(when)) and len(names) != len(self._variables):
            raise RuleError(f"when= takes {', '.join(names)}; want {', '.join(self._variables)}, as the left side")

    def make(self, shapes: Any, given: str | Sequence[str] | Mapping[str, str] | None) -> FunctionRule:
        """The rule for declared or for general shapes, and for the given element types at most."""
        wanted = self._declared(given)
        first = wanted or DTYPES[:4]
        main = first[0]
        if shapes is None:
            found = None
            for main in first:
                found = general_shapes(self._variables, lambda s, main=main: not self._misfit(s, main))  # type: ignore[misc]
                if found is not None:
                    break
            if found is None:
                raise RuleError(self._why_none())
            sets = [found]
        else:
            sets, dtypes = given_shapes(self._variables, shapes)
            if len(set(dtypes.values())) > 1:
                main = sorted(dtypes.values(), key=lambda d: not d.startswith(("float", "bfloat")))[0]
                self._fixed |= {n: d for n, d in dtypes.items() if d != main}
            elif dtypes:
                main = next(iter(dtypes.values()))
            if misfit := self._misfit(sets[0], main):
                raise RuleError(misfit)
            sets = [s for s in sets if not self._misfit(s, main)]
        dtypes_held = self._held(sets[0], main, wanted)
        blocks = [block for s in sets for block in self._blocks(s, main, dtypes_held)]
        text = "\n".join(self._text(number, *block) for number, block in enumerate(dict.fromkeys(blocks), 1))
        parsed = [replace(r, path=self._path, line=self._line) for r in parse_rules(text, f"{RULESET}.egg")]
        return FunctionRule(self._name, text, tuple(parsed), self._left, self._right, tuple(sets), dtypes_held)

    def _declared(self, given: str | Sequence[str] | Mapping[str, str] | None) -> Sequence[str] | None:
        """Element types for all variables; those of single ones are noted."""
        wanted = [given] if isinstance(given, str) else None if isinstance(given, Mapping) else given
        self._fixed = dict(given) if isinstance(given, Mapping) else {}
        every = (*DTYPES, *WIDE_DTYPES)
        for dtype in (*(wanted or ()), *self._fixed.values()):
            if dtype not in every:
                near = difflib.get_close_matches(str(dtype), every, 2)
                hint = f"did you mean {' or '.join(near)}?" if near else f"there are {', '.join(every)}"
                raise RuleError(f"dtypes: {dtype!r} is no element type; {hint}")
        for name in self._fixed:
            if name not in self._variables:
                raise RuleError(f"dtypes: there is no variable {name!r}; there are {', '.join(self._variables)}")
        return wanted

    def _text(self, number: int, term: str, made: str, facts: str) -> str:
        name = self._name if number == 1 else f"{self._name}[{number}]"
        when = f"\n  :when ({facts})" if facts else ""
        return (
            f";; {law_of(self._left, self._right, self._name)}\n;; numerics: {self._numerics.name.lower()}\n"
            f";; source: {Path(self._path).name}:{self._line}\n"
            f'(rewrite {term}\n  {made}{when}\n  :name "{name}")'
        )

    def _held(self, shapes: Shapes, main: str, wanted: Sequence[str] | None) -> tuple[str, ...]:
        """Element types that give the same rule as the main one."""
        want = _loose(self._blocks(shapes, main, (), 1)[0])
        tried: Sequence[str] = (*DTYPES, *WIDE_DTYPES)
        if wanted is not None:
            tried = wanted
        elif not self._polynomial:
            tried = [d for d in tried if _kind(d) == _kind(main)]
        held = []
        for dtype in tried:
            if self._fixed and dtype in WIDE_DTYPES:
                continue
            try:
                same = dtype == main or _loose(self._blocks(shapes, dtype, (), 1)[0]) == want
            except EgraphOptError:
                same = False
            if same:
                held.append(dtype)
        return tuple(held)

    def _blocks(
        self, shapes: Shapes, dtype: str, held: Sequence[str], most: int | None = None
    ) -> list[tuple[str, str, str]]:
        """Left term, right term and conditions of every spelling, or of the first ones."""
        if misfit := self._misfit(shapes, dtype):
            raise RuleError(misfit)
        sizes = Sizes(tuple(dict.fromkeys(d for dims in shapes.values() for d in dims)))
        left = self._side(self._left, self._variables, shapes, sizes, dtype)
        right = self._side(self._right, self._reads, shapes, sizes, dtype)
        self._check(left, right)
        self._polynomial = _is_polynomial(left.first) and _is_polynomial(right.first)
        bind = self._when is not None or not (left.is_free_of_rank and right.is_free_of_rank)
        blocks = []
        found = patterns(left, bind, most)
        if right.first.nodes[right.root].op == "input" and any(p.turned_back for p in found):
            # A tensor found as it is needs no transpose: then the rule makes nothing new.
            found = [*patterns(left, bind, most, free=False), *found]
        alike = () if bind or left.used == right.used else left.alike
        for pattern in found:
            made = write_right(right, pattern, dtype)
            facts = [*self._dtype_facts(pattern, made.needs_dtype, held), *alike, *pattern.facts]
            if self._when is not None:
                facts.append(condition_call(self._name, self._when, shapes, pattern.binding, self._fixed))
            if set(self._variables) <= set(self._fixed):  # constants alone have the main type
                made = replace(made, facts=[fact.replace("?dtype", f'"{dtype}"') for fact in made.facts])
            facts = _plain(pattern.term, made.term, [*facts, *made.facts])
            blocks.append((pattern.term, made.term, "\n         ".join(facts)))
        return blocks

    def _dtype_facts(self, left: Left, needed: bool, held: Sequence[str]) -> list[str]:
        free = [n for n in self._variables if n not in self._fixed]
        facts = [f'(= "{dtype}" (dtype ?{n}))' for n, dtype in self._fixed.items()]
        every = set(held) >= RING and set(free) <= left.covered and self._when is None
        if not every:
            facts += [f"(= ?dtype (dtype ?{n}))" for n in free]
            facts += [f'(one-of ?dtype "{" ".join(held)}")'] if held and free else []
        elif needed:
            facts.append(f"(= ?dtype (dtype ?{free[0]}))")
        return facts

    def _check(self, left: Side, right: Side) -> None:
        """Refuse what makes no rule."""
        if left.first.nodes[left.root].op == "input":
            raise RuleError("the left side is one variable only: it would match every tensor")
        used = {q for node in left.first.nodes for q in node.operands}
        for n in left.first.inputs:
            if n not in used:
                raise RuleError(f"the left side does not depend on {left.name(n)!r}, so nothing binds it")
        if set(self._reads) == set(self._variables) and _renamed(left) == _renamed(right):
            raise RuleError("both sides are the same program once captured: there is nothing to rewrite")

    def _side(
        self, function: Callable[..., Any], names: Sequence[str], shapes: Shapes, sizes: Sizes, dtype: str
    ) -> Side:
        graphs = []
        for second in (False, True):
            args = self._arguments(names, shapes, sizes.at(second), dtype)
            graphs.append(self._graph(function, names, args, dtype))
        if _skeleton(graphs[0]) != _skeleton(graphs[1]):
            raise RuleError("the program depends on sizes in its structure; a rule is one program for all sizes")
        return Side(graphs[0], graphs[1], sizes)

    def _graph(self, function: Callable[..., Any], names: Sequence[str], args: Sequence[Any], dtype: str) -> Graph:
        arrays = [n for n in names if n in self._variables]
        given = dict(zip(names, args, strict=True))

        def call(*operands: Any) -> Any:
            inside = {**given, **dict(zip(arrays, operands, strict=True))}
            return function(*(inside[n] for n in names))

        with _settings(dtype):
            captured = capture(call, [given[n] for n in arrays], numerics=self._numerics)
        graph = normalise(captured.graph, self._numerics)
        if captured.constants:
            raise RuleError("a side reads an array from outside; make it a variable, or of sizes inside")
        if graph.effects:
            raise RuleError("a side has side effects")
        return replace(graph, names=tuple(arrays))

    def _arguments(self, names: Sequence[str], shapes: Shapes, sizes: Mapping[str, int], dtype: str) -> list[Any]:
        types = {
            n: jax.ShapeDtypeStruct(tuple(sizes[d] for d in shapes[n]), self._fixed.get(n, dtype))
            for n in self._variables
        }
        values = {n: value_at(n, f, [types[v] for v in self._variables]) for n, f in self._where.items()}
        return [types[n] if n in types else values[n] for n in names]

    def _misfit(self, shapes: Shapes, dtype: str) -> str:
        """Why the sides do not fit these shapes, or ""."""
        sizes = Sizes(tuple(dict.fromkeys(d for dims in shapes.values() for d in dims)))
        results = []
        for side, function, names in (("left", self._left, self._variables), ("right", self._right, self._reads)):
            try:
                args = self._arguments(names, shapes, sizes.at(), dtype)
                with _settings(dtype):
                    result = _result_type(function, names, args, self._variables)
            except (RuleError, NameError) as error:  # no shape would mend it
                raise error if isinstance(error, RuleError) else RuleError(f"the {side} side fails: {error}") from None
            except Exception as error:  # whatever the user's function raises is what the message says
                return f"the {side} side fails on {_described(shapes, dtype)}: {_first_line(error)}"
            if not hasattr(result, "shape"):
                raise RuleError(f"the {side} side returns {type(result).__name__}; want one array")
            results.append(f"{result.dtype}{list(result.shape)}")
        if results[0] != results[1]:
            return f"the sides have different types on {_described(shapes, dtype)}: {results[0]} and {results[1]}"
        return ""

    def _why_none(self) -> str:
        shapes = dict.fromkeys(self._variables, ("n", "n"))
        return f"no shapes are found that both sides accept; give shapes=. {self._misfit(shapes, DTYPES[0])}"


def _result_type(function: Callable[..., Any], names: Sequence[str], args: Sequence[Any], arrays: Sequence[str]) -> Any:
    held = [i for i, n in enumerate(names) if n in arrays]

    def call(*operands: Any) -> Any:
        every = list(args)
        for i, operand in zip(held, operands, strict=True):
            every[i] = operand
        return function(*every)

    return jax.eval_shape(call, *(args[i] for i in held))


def _parameters(function: Callable[..., Any]) -> tuple[str, ...]:
    if not callable(function):
        raise RuleError(f"want two functions, got {type(function).__name__}")
    found = inspect.signature(function).parameters.values()
    for p in found:
        if p.kind not in (p.POSITIONAL_ONLY, p.POSITIONAL_OR_KEYWORD) or p.default is not p.empty:
            raise RuleError(f"parameter {str(p)!r}: want plain parameters, one for each variable")
    return tuple(p.name for p in found)


def _plain(left: str, right: str, facts: Sequence[str]) -> list[str]:
    """Conditions, those whose value nobody reads without a name for it."""
    every = f"{left} {right} {' '.join(facts)} "
    plain = []
    for fact in facts:
        match = re.fullmatch(r"\(= (\?[\w-]+) (\((?!shape|dtype).*\))\)", fact)
        alone = match is not None and len(re.findall(rf"{re.escape(match.group(1))}(?![\w-])", every)) == 1
        plain.append(match.group(2) if match is not None and alone else fact)
    return plain


def _is_polynomial(graph: Graph) -> bool:
    """Whether the graph only adds, multiplies and moves elements."""
    moved = ("input", "constant", "einsum", "add")
    return all(node.op in moved or Trait.LAYOUT in get_op(node.op).traits for node in graph.nodes)


def _kind(dtype: str) -> str:
    return dtype.rstrip("0123456789").removeprefix("b") if dtype != "bool" else dtype


def _skeleton(graph: Graph) -> list[tuple[str, tuple[int, ...], str]]:
    return [(n.op, n.operands, n.attr("spec").partition(";")[0] if n.op == "einsum" else "") for n in graph.nodes]


def _renamed(side: Side) -> str:
    return str(replace(side.first, names=()))


def _loose(block: tuple[str, str, str]) -> str:
    """A block with constants as integers where they are: how they are written follows the element type."""
    return re.sub(r"(?<=\")(-?\d+)\.0(?=\")", r"\1", " ".join(block))


def _described(shapes: Shapes, dtype: str) -> str:
    return ", ".join(f"{dtype} {n}[{','.join(dims)}]" for n, dims in shapes.items())


def _first_line(error: BaseException) -> str:
    return (str(error).strip().splitlines() or [type(error).__name__])[0]


@contextlib.contextmanager
def _settings(dtype: str) -> Iterator[None]:
    """Element types as given, and no word about numbers that do not fit an element type that is only tried."""
    with contextlib.ExitStack() as stack:
        stack.enter_context(warnings.catch_warnings(action="ignore"))
        if dtype in WIDE_DTYPES:
            stack.enter_context(x64_enabled())
        yield
