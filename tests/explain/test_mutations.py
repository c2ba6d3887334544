# SPDX-License-Identifier: Apache-2.0
"""No certificate that was changed anywhere is accepted; nor, sealed again, one that was changed where it counts."""

from __future__ import annotations

import copy
import functools
import json
import random
import re
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from typing import Any

import jax
import jax.numpy as jnp
import pytest

from benchmarks.programs.algebra import PROGRAMS, A, B, x
from egraph_opt.capture import capture
from egraph_opt.cost import cost_model
from egraph_opt.engine import RuleSet
from egraph_opt.explain.checker import CertificateError, Terms, check, digest
from egraph_opt.explain.follow import Effort
from egraph_opt.explain.prove import prove
from egraph_opt.ir.numerics import Numerics
from egraph_opt.search import SearchOptions, search

Certificate = dict[str, Any]
NAMES = ("A'BA'By", "trace(AB)", "2AB+3AC", "(A-UU')x", "Jv by jacrev")
ROUNDS = 60
RULES = RuleSet.shipped().admitted(Numerics.REASSOCIATE)


def looped(a: Any, b: Any, v: Any) -> Any:
    return jax.lax.scan(lambda c, _: (jnp.tanh((a @ b) @ c), None), v, None, length=2)[0]


@functools.cache
def certificate(name: str) -> str:
    program, args, _ = PROGRAMS.get(name, (looped, (A, B, x), 0))
    before = capture(program, args).graph
    result = search(before, SearchOptions(RULES, Numerics.REASSOCIATE, 20.0, cost_model("roofline")))
    proof = prove(before, result.candidates[0].graph, result, Effort(RULES, Numerics.REASSOCIATE))
    assert proof.certificate is not None, proof.reason
    return json.dumps(proof.certificate)


def places(value: Any, path: tuple[Any, ...] = ()) -> list[tuple[Any, ...]]:
    """Paths of all leaves."""
    if isinstance(value, dict | list) and value:
        items = value.items() if isinstance(value, dict) else enumerate(value)
        return [leaf for key, item in items for leaf in places(item, (*path, key))]
    return [path]


def parent(value: Any, path: tuple[Any, ...]) -> Any:
    for key in path[:-1]:
        value = value[key]
    return value


def change_leaf(c: Certificate, draw: random.Random) -> None:
    """Any number, text or empty list becomes another one."""
    path = draw.choice(places(c))
    holder = parent(c, path)
    old = holder[path[-1]]
    if isinstance(old, str):
        ways: list[Any] = [old + "a", old[1:], old.swapcase(), re.sub(r"\d", lambda m: str((int(m[0]) + 1) % 10), old)]
    elif isinstance(old, int):
        ways = [old + 1, old - 1, str(old), old + 0.5, None, -old - 1]
    else:
        ways = [[0], None, "x"]
    holder[path[-1]] = draw.choice(ways)


def change_spec(c: Certificate, draw: random.Random) -> None:
    """A letter, a size or the factor of one einsum of the table."""
    row = draw.choice([row for row in c["terms"] if row[0] == "einsum"])
    letters, _, rest = row[1].partition(";")
    sizes, _, scale = rest.partition("|")
    kind = draw.choice(("letter", "size", "scale", "output"))
    if kind == "letter":
        old, new = draw.sample(sorted(set(re.findall("[a-z]", letters)) | {"a", "z"}), 2)
        letters = letters.replace(old, new, 1)
    elif kind == "size":
        sizes = sizes.replace("128", "127", 1) or "3"
    elif kind == "scale":
        scale = "2.0" if not scale else str(-float(scale))
    else:
        left, _, right = letters.partition("->")
        letters = f"{left}->{right[::-1]}"
    row[1] = f"{letters};{sizes}" + (f"|{scale}" if scale else "")


def swap_bindings(c: Certificate, draw: random.Random) -> None:
    bindings = draw.choice([step for step in c["steps"] if step["kind"] == "rule"])["bindings"]
    one, other = draw.sample(sorted(bindings), 2)
    bindings[one], bindings[other] = bindings[other], bindings[one]


def change_binding(c: Certificate, draw: random.Random) -> None:
    bindings = draw.choice([step for step in c["steps"] if step["kind"] == "rule"])["bindings"]
    name = draw.choice(sorted(bindings))
    bindings[name] = draw.choice([draw.randrange(len(c["terms"])), "ab->ba;128,128", "a,ab->b;128,128"])


def add_binding(c: Certificate, draw: random.Random) -> None:
    draw.choice([step for step in c["steps"] if step["kind"] == "rule"])["bindings"]["?more"] = 0


def rename_rule(c: Certificate, draw: random.Random) -> None:
    step = draw.choice([step for step in c["steps"] if step["kind"] == "rule"])
    step["rule"] = draw.choice([rule.name for rule in RULES])


def change_kind(c: Certificate, draw: random.Random) -> None:
    step = draw.choice(c["steps"])
    step["kind"] = draw.choice(("sum", "normal-form", "rule", "body", "axiom"))


def claim_less(c: Certificate, draw: random.Random) -> None:
    """A rule's step stated without its rule."""
    step = draw.choice([step for step in c["steps"] if step["kind"] == "rule"])
    for field in draw.sample(("rule", "bindings", "conditions"), draw.randint(1, 3)):
        del step[field]


def drop_step(c: Certificate, draw: random.Random) -> None:
    place = draw.randrange(len(c["steps"]))
    del c["steps"][place]
    if draw.random() < 0.5:
        for number, step in enumerate(c["steps"]):
            step["number"] = number


def repeat_step(c: Certificate, draw: random.Random) -> None:
    place = draw.randrange(len(c["steps"]))
    c["steps"].insert(place, copy.deepcopy(c["steps"][place]))
    if draw.random() < 0.5:
        for number, step in enumerate(c["steps"]):
            step["number"] = number


def swap_steps(c: Certificate, draw: random.Random) -> None:
    if len(c["steps"]) > 1:
        one, other = draw.sample(range(len(c["steps"])), 2)
        c["steps"][one], c["steps"][other] = c["steps"][other], c["steps"][one]


def change_evidence(c: Certificate, draw: random.Random) -> None:
    steps = [step for step in c["steps"] if step.get("conditions")]
    condition = draw.choice(draw.choice(steps)["conditions"])
    way = draw.randrange(3)
    if way == 0:
        condition[0] = draw.choice(("shrinks", "compose", "regroup.pair"))
    elif way == 1:
        condition[1][draw.randrange(len(condition[1]))] = draw.choice((0, 1, "ab->a;128,128"))
    else:
        condition[2] = draw.choice(("false", "ab->;128,128", 1))


def drop_evidence(c: Certificate, draw: random.Random) -> None:
    steps = [step for step in c["steps"] if step.get("conditions")]
    conditions = draw.choice(steps)["conditions"]
    del conditions[draw.randrange(len(conditions))]


def change_result(c: Certificate, draw: random.Random) -> None:
    side = c[draw.choice(("before", "after"))]
    side[draw.randrange(len(side))] = draw.randrange(len(c["terms"]))


def change_side(c: Certificate, draw: random.Random) -> None:
    """Another side; not one that the certificate proves equal, which would leave a proof."""
    same = Terms(c["terms"]).classes([(step["left"], step["right"]) for step in c["steps"]])
    step, side = draw.choice(c["steps"]), draw.choice(("left", "right"))
    others = [t for t in range(len(c["terms"])) if same[t] != same[step[side]]]
    step[side] = draw.choice(others)


def change_operand(c: Certificate, draw: random.Random) -> None:
    row = draw.choice([row for row in c["terms"] if row[2]])
    row[2][draw.randrange(len(row[2]))] = draw.randrange(len(c["terms"]))


def change_operation(c: Certificate, draw: random.Random) -> None:
    row = draw.choice(c["terms"])
    row[0] = draw.choice(("tanh", "add", "einsum", "sub", "sin", "input"))


def change_type(c: Certificate, draw: random.Random) -> None:
    row = draw.choice(c["terms"])
    row[3] = draw.choice((["float64[128]"], ["float32[7]"], ["bfloat16[128,128]"], []))


def add_field(c: Certificate, draw: random.Random) -> None:
    draw.choice([c, *c["steps"]])["note"] = "seen"


def add_term(c: Certificate, draw: random.Random) -> None:
    c["terms"].append(["tanh", "accuracy=None", [draw.randrange(len(c["terms"]))], ["float32[128]"]])


def add_rule(c: Certificate, draw: random.Random) -> None:
    c["rules"]["mine"] = [["", "add", "", ["?x", "?y"]], "?x", []]


def change_rule(c: Certificate, draw: random.Random) -> None:
    """Its sides change places."""
    law = c["rules"][draw.choice(sorted(c["rules"]))]
    law[0], law[1] = law[1], law[0]


def change_size(c: Certificate, draw: random.Random) -> None:
    """Another size of a letter, also in the types that it gives."""
    row = draw.choice([row for row in c["terms"] if row[0] == "einsum"])
    row[1], row[3] = row[1].replace("128", "64"), [text.replace("128", "64") for text in row[3]]


def change_factor(c: Certificate, draw: random.Random) -> None:
    """By less than what single precision holds, or by one."""
    row = draw.choice([row for row in c["terms"] if row[0] == "einsum"])
    spec, _, factor = row[1].partition("|")
    row[1] = f"{spec}|{draw.choice((float(factor or 1) * (1 + 1e-9), float(factor or 1) + 1))!r}"


def change_letters(c: Certificate, draw: random.Random) -> None:
    """Two letters of an operand change places, where their sizes allow it."""
    row = draw.choice(
        [row for row in c["terms"] if row[0] == "einsum" and len(row[1].split("->")[0].split(",")[0]) > 1]
    )
    words, arrow, rest = row[1].partition("->")
    first, *others = words.split(",")
    row[1] = ",".join([first[::-1], *others]) + arrow + rest


MUTATIONS: tuple[Callable[[Certificate, random.Random], None], ...] = (
    *(change_leaf, change_spec, swap_bindings, change_binding, add_binding, rename_rule, change_kind, claim_less),
    *(drop_step, repeat_step, swap_steps, change_evidence, drop_evidence, change_result, change_side),
    *(change_operand, change_operation, change_type, add_field, add_term, add_rule),
    *(change_rule, change_size, change_factor, change_letters),
)
DECISIVE: tuple[Callable[[Certificate, random.Random], None], ...] = (
    *(change_spec, swap_bindings, change_binding, rename_rule, drop_step, change_evidence, drop_evidence),
    *(change_result, change_side, change_operand, change_operation, change_type),
    *(change_rule, change_size, change_factor, change_letters),
)
"""Those that leave no proof of the same two programs, whatever is done about the digest."""


def mutated(name: str, mutations: Sequence[Callable[[Certificate, random.Random], None]]) -> Iterator[Any]:
    """Kind of mutation, the changed certificate, and the part that was changed: itself or that of a body."""
    text = certificate(name)
    draw = random.Random(name)
    count = 0
    while count < ROUNDS:
        changed = json.loads(text)
        target = changed
        if name == "loop" and draw.random() < 0.7:
            target = draw.choice([step for step in changed["steps"] if step["kind"] == "body"])["certificates"][0]
        mutation = draw.choice(mutations)
        try:
            mutation(target, draw)
        except IndexError:
            continue  # nothing there to change in this way
        if json.dumps(changed) != text:
            count += 1
            yield mutation.__name__, changed, target


def programs(c: Certificate) -> list[list[str]]:
    """Names of the results of both programs."""
    names = Terms(c["terms"]).names
    return [[names[t] for t in c[side]] for side in ("before", "after")]


def sealed(c: Certificate) -> None:
    c["digest"] = digest({name: part for name, part in c.items() if name != "digest"})


@pytest.mark.parametrize("name", [*NAMES, "loop"])
def test_changed_certificates_are_refused(name: str) -> None:
    assert check(json.loads(certificate(name))) > 0
    tried: Counter[str] = Counter()
    for kind, changed, _ in mutated(name, MUTATIONS):
        tried[kind] += 1
        with pytest.raises(CertificateError, match=r".{8}"):
            check(changed)
    assert len(tried) > 10


@pytest.mark.parametrize("name", [*NAMES, "loop"])
def test_changed_certificates_are_refused_when_sealed_again(name: str) -> None:
    before = programs(json.loads(certificate(name)))
    tried: Counter[str] = Counter()
    accepted = []
    for kind, changed, part in mutated(name, DECISIVE):
        tried[kind] += 1
        sealed(part)
        sealed(changed)
        try:
            check(changed)
        except CertificateError:
            continue
        if programs(changed) == before:
            accepted.append((kind, _difference(json.loads(certificate(name)), changed)))
    assert not accepted
    assert len(tried) > 10


def _difference(one: Any, other: Any) -> list[Any]:
    leaves = [{path: parent(c, path)[path[-1]] for path in places(c)} for c in (one, other)]
    return [
        (p, leaves[0].get(p), leaves[1].get(p))
        for p in {**leaves[0], **leaves[1]}
        if leaves[0].get(p) != leaves[1].get(p)
    ][:3]


def test_terms_with_two_types_are_refused_in_words() -> None:
    """Where JAX runs such a term; a term of sums and products alone is opened, and its type is read once."""
    refused = 0
    for place, row in enumerate(json.loads(certificate("loop"))["terms"]):
        changed = json.loads(certificate("loop"))
        changed["terms"][place][3] = row[3] * 2
        changed["digest"] = digest({name: part for name, part in changed.items() if name != "digest"})
        try:
            check(changed)
        except CertificateError:
            refused += 1
    assert refused


@pytest.mark.parametrize(
    "row",
    [
        ["einsum", "ab,cb->ac;4,4,3", [0, 1], ["float32[4,3]"]],
        ["einsum", "ab,bc->ac;4,5,3", [0, 1], ["float32[4,3]"]],
        ["einsum", "ab,bc->ac;4,4,3", [1, 0], ["float32[4,3]"]],
        ["einsum", "ab,bc->ca;4,4,3", [0, 1], ["float32[4,3]"]],
        ["add", "", [0, 1], ["float32[4,4]"]],
    ],
)
def test_terms_that_no_step_looks_into_are_well_typed(row: Any) -> None:
    inputs = [["input", "index=0", [], ["float32[4,4]"]], ["input", "index=1", [], ["float32[4,3]"]]]
    right = ["einsum", "ab,bc->ac;4,4,3", [0, 1], ["float32[4,3]"]]
    told: Certificate = {"terms": [*inputs, right], "before": [2], "after": [2], "rules": {}, "steps": []}
    sealed(told)
    assert check(told) == 0
    told["terms"] = [*inputs, row]
    sealed(told)
    with pytest.raises(CertificateError, match=r"^(term \d is of another type than read as|term 2 has another shape)"):
        check(told)
