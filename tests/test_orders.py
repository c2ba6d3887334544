# SPDX-License-Identifier: Apache-2.0
"""Orders of dimensions of intermediate products: fewer copies, equal values, and nothing moved that others can see."""

import random
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from egraph_opt.capture import capture
from egraph_opt.cost.work import work
from egraph_opt.ir import Builder, Graph, Spec
from egraph_opt.ir.spec import canonical
from egraph_opt.ir.types import TensorType
from egraph_opt.lower import lower_graph
from egraph_opt.lower.orders import ordered


def copied(graph: Graph) -> float:
    """Bytes that products and transpositions of stored tensors copy."""
    total = 0.0
    for node in graph.nodes:
        if node.op == "einsum":
            own = work(node, [graph.nodes[q].type for q in node.operands])
            spec = Spec.parse(node.attr("spec"))
            total += own.copied if len(spec.inputs) == 2 else 2.0 * node.type.nbytes * (not spec.is_identity)
    return total


def product(builder: Builder, x: int, y: int, text: str) -> int:
    left, output = text.split("->")
    first, second = left.split(",")
    shapes = builder.type(x).shape, builder.type(y).shape
    sizes = dict(zip(first + second, shapes[0] + shapes[1], strict=True))
    type = TensorType(tuple(sizes[c] for c in output), "float32")
    return builder.add("einsum", [x, y], [("spec", canonical([first, second], output, sizes))], type)


def network(last: str = "kc,cji->kji", turned: str = "abc->cba") -> Graph:
    """Three matrices applied to a tensor, each result in an order that the next one has to copy."""
    builder = Builder()
    a, b, c = (builder.input(TensorType((20, 8), "float32")) for _ in range(3))
    tensor = builder.input(TensorType((8, 8, 8), "float32"))
    first = product(builder, a, tensor, "ia,abc->bci")
    second = product(builder, b, first, "jb,bci->cji")
    third = product(builder, c, second, last)
    sizes = dict(zip("abc", builder.type(third).shape, strict=True))
    type = TensorType(tuple(sizes[x] for x in turned.split("->")[1]), "float32")
    spec = canonical(["abc"], turned.split("->")[1], sizes)
    return builder.build([builder.add("einsum", [third], [("spec", spec)], type)])


def values(graph: Graph) -> list[jax.Array]:
    return [
        jnp.asarray(np.random.default_rng(seed).standard_normal(t.shape), t.dtype)
        for seed, t in enumerate(graph.input_types)
    ]


def test_a_network_of_tensors_is_contracted_without_copies() -> None:
    graph = network()
    assert copied(graph) > 80_000
    better = ordered(graph)
    assert copied(better) == 0.0
    args = values(graph)
    want = jnp.einsum("ia,jb,kc,abc->ijk", args[0], args[1], args[2], args[3])
    np.testing.assert_allclose(lower_graph(graph)(args)[0], want, rtol=1e-4, atol=1e-4)
    text = jax.jit(lambda *x: lower_graph(graph)(x)).lower(*args).as_text()
    assert text.count("dot_general") == 3
    assert text.count("stablehlo.transpose") == 0


def test_nothing_to_gain_is_the_same_graph() -> None:
    better = ordered(network())
    assert ordered(better) is better
    assert ordered(capture(lambda a, b, x: jnp.tanh(a @ b) @ x, [jnp.ones((9, 9))] * 3).graph) is not None
    plain = capture(lambda a, b, x: (a @ b) @ x, [jnp.ones((9, 9))] * 3).graph
    assert ordered(plain) is plain


def test_what_others_read_keeps_its_order() -> None:
    builder = Builder()
    x = builder.input(TensorType((4, 5, 6), "float32"))
    y = builder.input(TensorType((4, 6, 7), "float32"))
    z = builder.input(TensorType((5, 3), "float32"))
    inner = product(builder, x, y, "bik,bkj->ijb")
    outer = product(builder, inner, z, "ijb,im->bjm")
    shown = builder.build([outer, inner])
    assert ordered(shown) is shown
    tanh = builder.add("tanh", [inner], [], builder.type(inner))
    read = builder.build([outer, tanh])
    assert ordered(read) is read
    alone = builder.build([outer])
    better = ordered(alone)
    assert copied(better) < copied(alone)
    assert better.output_types == alone.output_types
    args = values(alone)
    np.testing.assert_allclose(lower_graph(alone)(args)[0], jnp.einsum("bik,bkj,im->bjm", *args), rtol=1e-4, atol=1e-4)


@pytest.mark.parametrize("seed", range(8))
def test_random_chains(seed: int) -> None:
    """Values stay, and no chain copies more than before."""
    draw = random.Random(seed)
    sizes = {c: draw.choice((2, 3, 4)) for c in "abcdefgh"}
    builder = Builder()

    def leaf(letters: str) -> tuple[int, str]:
        return builder.input(TensorType(tuple(sizes[c] for c in letters), "float32")), letters

    held, word = leaf("".join(draw.sample("abcdefgh", 4)))
    words, numbers = [word], [held]
    for _ in range(4):
        shared = draw.sample(word, 2)
        batch = shared[:1] if draw.random() < 0.5 else []
        fresh = [c for c in "abcdefgh" if c not in word]
        letters = [*shared, *draw.sample(fresh, min(2, len(fresh)))]
        draw.shuffle(letters)
        other, second = leaf("".join(letters))
        out = [c for c in dict.fromkeys(word + second) if c not in shared or c in batch]
        draw.shuffle(out)
        text = f"{word},{second}->{''.join(out)}"
        held, word = product(builder, held, other, text), "".join(out)
        words.append(second)
        numbers.append(held)
    graph = builder.build([held])
    better = ordered(graph)
    assert copied(better) <= copied(graph)
    args = values(graph)
    (mine,) = lower_graph(graph)(args)
    total = np.asarray(args[0], np.float64)
    word = words[0]
    for node, arg, second in zip([n for n in graph.nodes if n.op == "einsum"], args[1:], words[1:], strict=True):
        spec = Spec.parse(node.attr("spec"))
        total = np.einsum(f"{','.join(spec.inputs)}->{spec.output}", total, np.asarray(arg, np.float64))
        assert len(second) == len(spec.inputs[1])
    np.testing.assert_allclose(mine, total, rtol=1e-4, atol=1e-4)


def elementwise(graph: Graph) -> int:
    """Elementwise products and transpositions that read a matrix across."""
    crossed = 0
    for node in graph.nodes:
        if node.op == "einsum" and not (spec := Spec.parse(node.attr("spec"))).summed:
            crossed += any(
                [c for c in word if c in spec.output] != [c for c in spec.output if c in word] for word in spec.inputs
            )
    return crossed


def test_elementwise_work_is_done_in_the_order_of_its_operands() -> None:
    graph = Graph.parse(
        """graph @main(%0: f32[30,20], %1: f32[30]) {
  %2: f32[20,30] = einsum[spec='ab,a->ba;30,20'](%0, %1)
  %3: f32[20] = einsum[spec='ab,ab->a;20,30'](%2, %2)
  return (%3)
}"""
    )
    better = ordered(graph)
    assert elementwise(graph) == 1
    assert elementwise(better) == 0
    args = values(graph)
    want = ((np.asarray(args[0]) * np.asarray(args[1])[:, None]) ** 2).sum(0)
    np.testing.assert_allclose(lower_graph(graph)(args)[0], want, rtol=1e-5)


def test_what_is_joined_by_elementwise_work_is_reordered_together() -> None:
    """Functions, sums, slices and concatenations between two products share an order."""
    graph = Graph.parse(
        """graph @main(%0: f32[30,30], %1: f32[50,30], %2: f32[50,30]) {
  %3: f32[100,30] = concatenate[dimension=0](%1, %2)
  %4: f32[30,100] = einsum[spec='ab,cb->ac;30,30,100'](%0, %3)
  %5: f32[30,50] = slice[start_indices=(0, 0), limit_indices=(30, 50), strides=None](%4)
  %6: f32[30,50] = slice[start_indices=(0, 50), limit_indices=(30, 100), strides=None](%4)
  %7: f32[30,50] = tanh(%5)
  %8: f32[30,50] = add(%6, %7)
  %9: f32[30,100] = concatenate[dimension=1](%7, %8)
  %10: f32[100,30] = einsum[spec='ab->ba;30,100'](%9)
  %11: f32[100,30] = einsum[spec='ab,cb->ac;100,30,30'](%10, %0)
  return (%11)
}"""
    )
    better = ordered(graph)
    assert elementwise(graph) == 1
    assert elementwise(better) == 0
    slices = [node for node in better.nodes if node.op == "slice"]
    assert [node.type.shape for node in slices] == [(50, 30), (50, 30)]
    a, x, y = values(graph)
    z = np.concatenate([x, y]) @ np.asarray(a).T
    first, second = np.tanh(z[:50]), z[50:] + np.tanh(z[:50])
    want = np.concatenate([first, second]) @ np.asarray(a).T
    np.testing.assert_allclose(lower_graph(graph)([a, x, y])[0], want, rtol=1e-4, atol=1e-4)


def test_products_are_turned_so_that_the_first_operand_is_read_along_its_rows() -> None:
    graph = Graph.parse(
        """graph @main(%0: f32[60,40], %1: f32[60,8], %2: f32[8]) {
  %3: f32[40,8] = einsum[spec='ab,ac->bc;60,40,8'](%0, %1)
  %4: f32[40,8] = tanh(%3)
  %5: f32[40] = einsum[spec='ab,b->a;40,8'](%4, %2)
  return (%5)
}"""
    )
    (product,) = [node for node in ordered(graph).nodes if node.op == "einsum" and node.type.rank == 2]
    assert product.type.shape == (8, 40)  # the smaller matrix is the one that is packed


def channels_last(graph: Graph) -> list[tuple[bool, bool]]:
    """For each convolution whether its input and its result end with their channels."""
    numbers = [node.attr("dimension_numbers") for node in graph.nodes if node.op == "conv_general_dilated"]
    return [(n.lhs_spec[1] == len(n.lhs_spec) - 1, n.out_spec[1] == len(n.out_spec) - 1) for n in numbers]


def conv(x: jax.Array, kernel: jax.Array, stride: int = 1, **more: Any) -> jax.Array:
    numbers = ("NCHW", "OIHW", "NCHW")
    return jax.lax.conv_general_dilated(x, kernel, (stride, stride), "SAME", dimension_numbers=numbers, **more)


def image_network(x, first, bias, second, third, depthwise, mixed, head):
    """Residuals, pads, pools, concatenations, slices, groups, products of channels, and a mean over pixels."""
    y = jax.nn.relu(conv(x, first, 2) + bias[None, :, None, None])
    y = jax.lax.reduce_window(y, -jnp.inf, jax.lax.max, (1, 1, 3, 3), (1, 1, 2, 2), ((0, 0), (0, 0), (1, 1), (1, 0)))
    z = jnp.tanh(conv(y, second)) + y
    z = conv(jnp.pad(z, ((0, 0), (0, 0), (1, 2), (3, 0))), third)[:, :, 1:-2, 3:]
    z = jnp.concatenate([z + y, y[:, :3]], 1)
    z = conv(z, depthwise, feature_group_count=11)
    z = jnp.einsum("oc,nchw->nohw", mixed, z)
    return z.mean((2, 3)) @ head


@pytest.mark.parametrize("batch", [1, 2])
def test_convolutions_pass_on_their_channels_last(batch: int) -> None:
    shapes = [(batch, 3, 16, 20), (8, 3, 5, 5), (8,), (8, 8, 3, 3), (8, 8, 3, 3), (11, 1, 3, 3), (6, 11), (6, 4)]
    args = [jnp.asarray(np.random.default_rng(i).standard_normal(s), "float32") for i, s in enumerate(shapes)]
    graph = capture(image_network, args).graph
    better = ordered(graph)
    assert channels_last(graph) == [(False, False)] * 4
    assert channels_last(better)[0][1]  # its input is the caller's
    assert channels_last(better)[1:] == [(True, True)] * 3
    read = [n for n in better.nodes if n.op == "einsum" and n.type.rank > 2 and n.operands[0] not in better.inputs]
    assert not any(Spec.parse(n.attr("spec")).is_permutation for n in read)
    for one in (graph, better):
        np.testing.assert_allclose(lower_graph(one)(args)[0], image_network(*args), rtol=2e-4, atol=2e-3)


def test_a_convolution_that_the_caller_sees_keeps_its_order() -> None:
    graph = capture(lambda x, k: conv(x, k), [jnp.ones((2, 3, 8, 8)), jnp.ones((4, 3, 3, 3))]).graph
    assert ordered(graph) is graph
