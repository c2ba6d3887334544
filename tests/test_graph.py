# SPDX-License-Identifier: Apache-2.0
"""The Graph: hash-consing, equality, source lines, text that reads back, faults of text by line."""

from __future__ import annotations

import dataclasses
import os
import subprocess
import sys

import numpy as np
import pytest

from egraph_opt.errors import GraphError
from egraph_opt.ir import Builder, Graph, Source, TensorType
from egraph_opt.ir.attrs import Array, DType, format_attr, freeze, parse_attrs, thaw
from egraph_opt.ir.emit import Emitter

T = TensorType((4, 3), "float32")
S = TensorType((), "float32")


def small() -> Graph:
    builder = Builder()
    x, y = builder.input(T, "x"), builder.input(TensorType((3,), "bfloat16", weak=True), "y")
    a = builder.add("tanh", (x,), (("accuracy", None),), T, (Source("model.py", 3, "layer"),))
    b = builder.add("tanh", (x,), (("accuracy", None),), T, (Source("model.py", 9),))
    assert a == b
    c = builder.add("constant", (), (("value", 2.5),), S)
    dead = builder.add("exp", (a,), (), T)
    assert dead != a
    return builder.build([a, c, a, y], weak_outputs=[False, True, False, True])


def test_equal_nodes_are_one_and_keep_all_lines() -> None:
    graph = small()
    assert graph.op_counts() == {"input": 2, "tanh": 1, "constant": 1}, "the dead node is gone"
    (tanh,) = (node for node in graph if node.op == "tanh")
    assert [str(source) for source in tanh.sources] == ["model.py:3 (layer)", "model.py:9"]
    assert graph.outputs[0] == graph.outputs[2]
    assert graph.use_counts()[graph.outputs[0]] == 2


def test_graphs_cannot_be_changed() -> None:
    graph = small()
    with pytest.raises(dataclasses.FrozenInstanceError):
        graph.nodes = ()  # type: ignore[misc]
    with pytest.raises(dataclasses.FrozenInstanceError):
        graph.nodes[0].op = "exp"  # type: ignore[misc]


def test_text_reads_back() -> None:
    graph = small()
    text = str(graph)
    assert "%2: f32[4,3] = tanh[accuracy=None](%0)  # model.py:3 (layer), model.py:9" in text
    assert Graph.parse(text) == graph
    assert hash(Graph.parse(text)) == hash(graph)
    assert str(graph.output_types[1]) == "f32[]~"


def test_sources_and_names_do_not_count_but_all_else_does() -> None:
    graph = small()
    bare = dataclasses.replace(graph, nodes=tuple(dataclasses.replace(n, sources=()) for n in graph), names=())
    assert bare == graph
    assert dataclasses.replace(graph, weak_outputs=(False,) * 4) != graph
    assert dataclasses.replace(graph, outputs=graph.outputs[::-1]) != graph
    assert dataclasses.replace(graph, precision="highest") != graph


def test_subgraphs_stand_below_and_read_back() -> None:
    inner = small()
    builder = Builder()
    x = builder.input(T)
    y = builder.input(TensorType((3,), "bfloat16"))
    types = [node.type for node in (inner.nodes[i] for i in inner.outputs)]
    call = builder.add("cond", (x, y), (("branches", (inner, inner)),), types)
    result = builder.add("result", (call,), (("index", 1),), S)
    graph = builder.build([result], precision="high")
    text = str(graph)
    assert text.count("graph @") == 2, "equal sub-graphs are printed once"
    assert Graph.parse(text) == graph
    assert list(graph.subgraphs()) == [inner, inner]


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("", "the text holds no graph"),
        ("hello", "line 1: 'hello' stands outside a graph"),
        ("graph @main(%0: f32[2]) {\n  %1: f32[2] = tanh(%0)\n}", "has no 'return (...)'"),
        ("graph @main() {\n  %0 is what\n  return ()\n}", "line 2: '%0 is what' is no node"),
        ("graph @main() {\n  %0: f32[2] = tanh(%4)\n  return (%0)\n}", "line 2: %4 is read before it is made"),
        ("graph @main() {\n  %0: q = iota(%0)\n  return (%0)\n}", "no tensor type"),
        ("graph @main() {\n  %0: f32[] = f[a=(]()\n  return (%0)\n}", "line 2: attributes 'a=(' do not parse"),
        ('graph @main() {\n  %0: f32[] = f[a=ref("x#9")]()\n  return (%0)\n}', "belongs to another process"),
        ("graph @main() {\n  return (%3)\n}", "line 2: an output is not defined"),
    ],
)
def test_faults_of_text(text: str, message: str) -> None:
    with pytest.raises(GraphError) as caught:
        Graph.parse(text)
    assert message in str(caught.value)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize(
    "value",
    [
        None, True, 3, -2.5, float("inf"), float("-inf"), 1 + 2j, "text", (), (1,), (1, (2.0, "a")),
        DType("bfloat16"), Array(np.arange(6, dtype=np.int8).reshape(2, 3)),
    ],
)  # fmt: skip
def test_attributes_read_back(value: object) -> None:
    assert parse_attrs(f"a={format_attr(freeze(value))}") == (("a", value),)


def test_attributes_without_text_are_held() -> None:
    def callback() -> None: ...

    held = freeze(callback)
    ((_, again),) = parse_attrs(f"a={format_attr(held)}")
    assert again == held
    assert thaw(again) is callback
    assert freeze([1, np.float32(2.0)]) == (1, 2.0)


@pytest.mark.parametrize("text", ["f32[2,3]", "bf16[]", "i4[7]~", "key<fry>[2]", "bool[0]", "c64[1]", "f8_e4m3fn[2]"])
def test_types_read_back(text: str) -> None:
    assert str(TensorType.parse(text)) == text


def test_sizes_of_types() -> None:
    assert TensorType((2, 3), "float32").nbytes == 24
    assert TensorType((4,), "int4").nbytes == 2
    assert TensorType((), "complex128").itemsize == 16


def test_text_does_not_depend_on_the_hash_seed() -> None:
    program = (
        "from egraph_opt.ir.emit import Emitter\nfrom egraph_opt.ir import TensorType\n"
        "e = Emitter(); t = TensorType((4, 4), 'float32'); xs = [e.input(t) for _ in range(9)]\n"
        "ys = [e.contract(['ab', 'bc'], 'ac', dict(a=4, b=4, c=4), [x, y]) for x in xs for y in xs]\n"
        "print(e.build([e.sum_of(ys)]))"
    )
    texts = {
        subprocess.run(
            [sys.executable, "-c", program],
            env={**os.environ, "PYTHONHASHSEED": seed},
            capture_output=True,
            text=True,
            check=True,
        ).stdout
        for seed in ("0", "1", "77")
    }
    assert len(texts) == 1
    assert "einsum" in texts.pop()


def test_smart_constructors_share_what_is_equal() -> None:
    emitter = Emitter()
    a, b = emitter.input(TensorType((4, 4), "float32")), emitter.input(TensorType((4, 4), "float32"))
    sizes = {"a": 4, "b": 4, "c": 4}
    first = emitter.contract(["ab", "bc"], "ac", sizes, [a, b])
    second = emitter.contract(["bc", "ab"], "ac", sizes, [b, a])
    assert first == second, "the order of the operands does not matter"
    turned = emitter.einsum("ab->ba;4,4", [a])
    assert emitter.einsum("ab->ba;4,4", [turned]) == a
    assert emitter.contract(["ba", "bc"], "ac", sizes, [turned, b]) == first
    assert emitter.scaled(emitter.scaled(a, 2), 0.5) == a
