# SPDX-License-Identifier: Apache-2.0
"""Rules may speak of every op: its constructor reads back as the node, its types are inferred, rules over it fire."""

from __future__ import annotations

import jax.numpy as jnp
import numpy as np
import pytest

from egraph_opt.capture import capture
from egraph_opt.cost import FlopCount
from egraph_opt.engine import Limits, RuleSet, Saturation
from egraph_opt.engine.attributes import FUNCTIONS, AttributeFunction, register
from egraph_opt.engine.rule import parse_rules
from egraph_opt.engine.words import head, infer_word, make_node, words
from egraph_opt.errors import RuleError
from egraph_opt.ir import Node
from egraph_opt.ir.attrs import Ref
from egraph_opt.ir.numerics import Numerics
from egraph_opt.lower import lower_graph
from egraph_opt.ops import all_ops
from egraph_opt.search import SearchOptions, search

EXAMPLES = [
    (op, example)
    for op in all_ops().values()
    for example in op.examples
    if op.name not in ("add", "result", "assume")  # chains of two operands; of a node with several results; a fact
]


def extended(text: str) -> RuleSet:
    return RuleSet.shipped() + RuleSet(tuple(parse_rules(text, "mine.egg")))


def best(function: object, arguments: list[object], text: str) -> tuple[object, dict[str, int]]:
    graph = capture(function, arguments).graph
    found = search(graph, SearchOptions(extended(text), Numerics.REASSOCIATE, 1.0, FlopCount())).candidates[0]
    return lower_graph(found.graph)(arguments)[0], dict(found.fired)


@pytest.mark.parametrize(("op", "example"), EXAMPLES, ids=[f"{op.name}-{n}" for n, (op, _) in enumerate(EXAMPLES)])
def test_every_node_reads_back(op: object, example: object) -> None:
    types = op.infer(example.operands, **dict(example.attrs))
    node = Node(op.name, tuple(range(len(example.operands))), example.attrs, types)
    found = head(node)
    if found is None:
        textless = any(isinstance(value, Ref) for _, value in example.attrs)
        tensor = op.name == "constant" and types[0].shape
        assert len(types) > 1 or op.nested or textless or tensor, f"{op.name} has no constructor"
        return
    name, text = found
    assert make_node(name, *(text or ("",)), node.operands, types) == node
    if op.name not in ("einsum", "reshape"):
        assert infer_word(name, *(text or ("",)), example.operands) == tuple(t.strong() for t in types)


def test_names_are_one_to_one() -> None:
    assert len({word.constructor.name for word in words().values()}) == len(words())
    assert {"Tanh", "ReduceMax", "Concatenate2", "Slice", "Constant"} <= set(words())


def test_rules_over_attributes_fire() -> None:
    rule = """
;; The maximum of logarithms is the logarithm of the maximum.
;; numerics: reassociate
(rewrite (ReduceMax ?a (Log ?x)) (Log (ReduceMax ?a ?x)) :name "max-of-log")
"""
    x = jnp.asarray(np.random.default_rng(0).uniform(1, 2, (4, 6)), jnp.float32)
    value, fired = best(lambda x: jnp.log(x).max(axis=1), [x], rule)
    assert fired == {"max-of-log": 2}
    np.testing.assert_allclose(value, jnp.log(x).max(axis=1), rtol=1e-6)


def test_constants_shapes_and_types_are_facts() -> None:
    rule = """
;; max(x, 0) + x twice: here only to read facts of tensors that rules made.
;; numerics: exact
(rewrite (Max (Tanh ?x) ?c) (Tanh (Max ?x ?c))
  :when ((= ?c (Constant ?t)) (= "0.0" (constant-value ?t)) (= "float32" (dtype ?x)) (= "3,2" (shape ?x)))
  :name "max-of-tanh")
;; ... of what the first rule made.
;; numerics: exact
(rewrite (Tanh (Max ?x ?c)) (Tanh (Max ?c ?x))
  :when ((= ?m (Max ?x ?c)) (= "3,2" (shape ?m)) (= "scalar" (shape ?c)))
  :name "exchanged")
"""
    x = jnp.asarray(np.random.default_rng(0).standard_normal((3, 2)), jnp.float32)
    graph = capture(lambda x: jnp.maximum(jnp.tanh(x), 0.0), [x]).graph
    saturation = Saturation(graph, extended(rule), Limits(seconds=5))
    try:
        snapshot = saturation.run()
    finally:
        saturation.close()
    assert saturation.report.rules["max-of-tanh"].matches
    assert saturation.report.rules["exchanged"].matches
    assert "Constant" in {node.constructor for nodes in snapshot.classes for node in nodes}


def test_ill_typed_e_nodes_are_never_chosen() -> None:
    rule = """
;; false: the maximum over one axis is that over all
;; numerics: exact
(rewrite (ReduceMax ?a ?x) (ReduceMax "axes=(0, 1)" ?x) :name "wrong-shape")
;; false: axis 7 does not exist
;; numerics: exact
(rewrite (ReduceMax ?a ?x) (ReduceMax "axes=(7,)" ?x) :name "no-such-axis")
"""
    x = jnp.asarray(np.random.default_rng(0).standard_normal((3, 2)), jnp.float32)
    value, fired = best(lambda x: jnp.sin(x).max(axis=1) * 2.0, [x], rule)
    assert not fired
    np.testing.assert_allclose(value, jnp.sin(x).max(axis=1) * 2, rtol=1e-6)


def test_spec_functions() -> None:
    call = {name: FUNCTIONS[name].call for name in ("letters", "scale-of", "rescale", "spec1", "spec2")}
    assert call["letters"]("ab,bc->ac;2,3,4|-2.0") == "ab,bc->ac"
    assert call["scale-of"]("ab->ba;2,3|-2.0") == "-2.0"
    assert call["rescale"]("ab->ba;2,3|-2.0", "0.5") == "ab->ba;2,3|-1"
    assert call["spec1"]("xy->yx", "2,3") == "ab->ba;2,3"
    assert call["spec1"]("xx->x", "2,3") is None, "a diagonal wants equal sizes"
    assert call["spec1"]("x->xy", "2") is None, "the size of a broadcast letter is not known"
    assert call["spec2"]("xy,yz->xz", "2,3", "3,4") == "ab,bc->ac;2,3,4"
    assert call["spec2"]("xy,yz->xz", "2,3", "5,4") is None
    assert call["spec2"]("xy,yz->xz", "2,3", "4") is None, "another rank"


def test_shipped_attribute_functions_are_not_replaced() -> None:
    with pytest.raises(RuleError, match="'compose' is shipped; give yours another name"):
        register(AttributeFunction("compose", ("String",), (), lambda s: True, ""))
    register(AttributeFunction("test.even", ("String",), (), lambda s: len(s) % 2 == 0, "for this test"))
    assert FUNCTIONS.pop("test.even").call("ab")
