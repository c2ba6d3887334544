# SPDX-License-Identifier: Apache-2.0
"""Random JAX programs: a seed gives a function and its arguments. Nothing here knows egraph_opt.

The function draws its own steps while it runs: the generator starts afresh on every call, so that every trace of it is
the same program. A step takes values from a pool, by shape and element type, and puts its results back. Comparisons
are of arguments only, and with odd bounds: elsewhere an honest change of the last bit could turn them over.
"""

from __future__ import annotations

import functools
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jax import lax

MAX_SIZE = 400
Rng = np.random.Generator
Step = Callable[[Rng, "Pool"], Any]


class Pool:
    """Values that steps read; the first ones are the arguments."""

    def __init__(self, arguments: Sequence[Any]) -> None:
        self.arguments = list(arguments)
        self.values = list(arguments)

    def pick(self, rng: Rng, fits: Callable[[Any], bool] = lambda x: True) -> Any:
        """One value for which ``fits``; late ones are likelier. None if there is none."""
        found = [x for x in self.values if fits(x)]
        return found[max(int(rng.integers(len(found))), int(rng.integers(len(found))))] if found else None


def inexact(x: Any) -> bool:
    return jnp.issubdtype(x.dtype, jnp.inexact)


def real(x: Any) -> bool:
    return jnp.issubdtype(x.dtype, jnp.floating)


def number(x: Any) -> bool:
    return inexact(x) or jnp.issubdtype(x.dtype, jnp.integer)


def ranked(low: int, high: int = 4, also: Callable[[Any], bool] = number) -> Callable[[Any], bool]:
    return lambda x: low <= x.ndim <= high and also(x)


def square(x: Any) -> bool:
    return x.ndim == 2 and x.shape[0] == x.shape[1] and x.shape[0] > 0 and number(x)


def bounded(x: Any) -> Any:
    """Argument for a periodic function: of a large one it would show nothing but the last bits."""
    return 6.0 * jnp.tanh(x / 6.0)


def axis_of(rng: Rng, x: Any) -> int:
    return int(rng.integers(x.ndim))


def axes_of(rng: Rng, x: Any) -> tuple[int, ...] | None:
    chosen = tuple(i for i in range(x.ndim) if rng.random() < 0.5)
    return chosen or None


SCALES = (0.0, 1.0, -1.0, 0.5, 2.0, 3.0, -0.25, 1e-3, 7, -2, 0)


def scale(rng: Rng, pool: Pool) -> Any:
    x = pool.pick(rng, number)
    if x is None:
        return None
    k = SCALES[rng.integers(len(SCALES))]
    return x * (int(k) if not inexact(x) else k)


def einsum(rng: Rng, pool: Pool) -> Any:
    """An einsum over one to three values, with letters shared where sizes agree."""
    first = pool.pick(rng, ranked(0))
    if first is None:
        return None
    operands = [first]
    for _ in range(int(rng.integers(3))):
        other = pool.pick(rng, lambda y: number(y) and y.ndim <= 4 and y.dtype == first.dtype)
        operands.append(other)
    letters: dict[str, int] = {}
    words = []
    for x in operands:
        word = ""
        for n in x.shape:
            known = [c for c, m in letters.items() if m == n and (c not in word or rng.random() < 0.15)]
            if known and rng.random() < 0.75:
                word += known[rng.integers(len(known))]
            else:
                letters[chr(97 + len(letters))] = n
                word += chr(96 + len(letters))
        words.append(word)
    order = [c for c in letters if rng.random() < 0.5]
    rng.shuffle(order)
    while order and np.prod([letters[c] for c in order], dtype=float) > MAX_SIZE:
        order.pop()
    if np.prod([max(n, 1) for n in letters.values()], dtype=float) > 2e5:
        return None
    return jnp.einsum(f"{','.join(words)}->{''.join(order)}", *operands)


def matmul(rng: Rng, pool: Pool) -> Any:
    x = pool.pick(rng, ranked(1))
    if x is None:
        return None
    y = pool.pick(rng, lambda y: number(y) and y.dtype == x.dtype and matches(x, y))
    return None if y is None else x @ y


def matches(x: Any, y: Any) -> bool:
    if not y.ndim or x.shape[-1] != y.shape[-2 if y.ndim > 1 else -1]:
        return False
    try:
        np.broadcast_shapes(x.shape[:-2], y.shape[:-2])
    except ValueError:
        return False
    return True


def transpose(rng: Rng, pool: Pool) -> Any:
    x = pool.pick(rng, lambda x: x.ndim >= 2)
    return None if x is None else jnp.transpose(x, rng.permutation(x.ndim))


def broadcast(rng: Rng, pool: Pool) -> Any:
    x = pool.pick(rng, lambda x: x.ndim <= 2)
    if x is None:
        return None
    if rng.random() < 0.5:
        return jnp.broadcast_to(x, (int(rng.integers(1, 4)), *x.shape))
    return jnp.expand_dims(x, int(rng.integers(x.ndim + 1)))


def reshape(rng: Rng, pool: Pool) -> Any:
    x = pool.pick(rng)
    if rng.random() < 0.5 or x.ndim < 2:
        return x.reshape(-1)
    return x.reshape(-1, *x.shape[2:]) if 0 not in x.shape[2:] else x.reshape(x.size)


REDUCTIONS: tuple[Callable[..., Any], ...] = (jnp.sum, jnp.sum, jnp.sum, jnp.mean, jnp.max, jnp.min, jnp.prod)


def reduce(rng: Rng, pool: Pool) -> Any:
    x = pool.pick(rng, lambda x: x.size > 0 and (real(x) or x.dtype == jnp.int32))
    if x is None:
        return None
    function = REDUCTIONS[rng.integers(len(REDUCTIONS))]
    if function is jnp.mean and not inexact(x):
        function = jnp.sum
    return function(x, axis=axes_of(rng, x), keepdims=bool(rng.random() < 0.3))


UNARY: tuple[Callable[[Any], Any], ...] = (
    jnp.tanh,
    jnp.tanh,
    lambda x: jnp.sin(bounded(x)),
    lambda x: jnp.cos(bounded(x)),
    lambda x: jnp.exp(-x * x),
    lambda x: jnp.log(1 + x * x),
    lambda x: jnp.sqrt(1 + x * x),
    lambda x: lax.rsqrt(2 + x * x),
    lambda x: 1 / (2 + jnp.cos(bounded(x))),
    jax.nn.sigmoid,
    lambda x: jnp.tanh(x) ** 3,
    lambda x: (1.5 + jnp.sin(bounded(x))) ** 1.7,
    lambda x: x**2,
    jnp.negative,
    lambda x: 1 - x,
    lambda x: x - 0.5,
    lambda x: lax.stop_gradient(x) + x,
    jax.nn.gelu,
)


def unary(rng: Rng, pool: Pool) -> Any:
    x = pool.pick(rng, real)
    return None if x is None else UNARY[rng.integers(len(UNARY))](x)


BINARY: tuple[Callable[[Any, Any], Any], ...] = (
    jnp.add,
    jnp.subtract,
    jnp.multiply,
    jnp.multiply,
    lambda x, y: x * 2 - y * 3,
    lambda x, y: x + y + x,
    lambda x, y: x - y + y if inexact(x) else x - y,
    lambda x, y: x * y + y * x,
    lambda x, y: x * y - 2 * x,
)


def partners(x: Any, y: Any) -> bool:
    if y.dtype != x.dtype:
        return False
    try:
        shape = np.broadcast_shapes(x.shape, y.shape)
    except ValueError:
        return False
    return int(np.prod(shape)) <= MAX_SIZE


def binary(rng: Rng, pool: Pool) -> Any:
    x = pool.pick(rng, number)
    y = pool.pick(rng, lambda y: partners(x, y))
    return None if x is None or y is None else BINARY[rng.integers(len(BINARY))](x, y)


def divide(rng: Rng, pool: Pool) -> Any:
    x = pool.pick(rng, real)
    if x is None:
        return None
    y = pool.pick(rng, lambda y: partners(x, y))
    return x / (1 + y * y) if y is not None and rng.random() < 0.7 else x / 3


def extremes(rng: Rng, pool: Pool) -> Any:
    x = pool.pick(rng, lambda x: real(x) and x.ndim > 0)
    return None if x is None else (jnp.maximum(x, 0.1337) if rng.random() < 0.5 else jnp.clip(x, -0.7713, 0.6111))


def mask_for(rng: Rng, x: Any, pool: Pool) -> Any:
    kind = rng.integers(6)
    if kind == 0 and x.ndim == 2:
        return jnp.eye(*x.shape, k=int(rng.integers(-1, 2)), dtype=bool)
    if kind == 1 and x.ndim == 2:
        return jnp.tril(jnp.ones(x.shape, bool), k=int(rng.integers(-1, 2)))
    if kind == 2:
        return jnp.asarray(np.random.default_rng(int(rng.integers(99))).random(x.shape) < 0.5)
    if kind == 3 and x.ndim:
        return lax.broadcasted_iota(jnp.int32, x.shape, axis_of(rng, x)) < int(rng.integers(4))
    y = next((y for y in pool.arguments if y.shape == x.shape and real(y)), None)
    return jnp.asarray(bool(rng.integers(2))) if y is None else y > 0.1313


def where(rng: Rng, pool: Pool) -> Any:
    x = pool.pick(rng, lambda x: x.ndim <= 3 and number(x))
    if x is None:
        return None
    mask = mask_for(rng, x, pool)
    y = pool.pick(rng, lambda y: y.shape in (x.shape, ()) and y.dtype == x.dtype) if rng.random() < 0.4 else 0
    return jnp.where(mask, x, y) if rng.random() < 0.6 else jnp.where(mask, y, x)


def leaf(rng: Rng, pool: Pool) -> Any:
    like = pool.pick(rng, number)
    if like is None:
        return None
    n, m = int(rng.integers(1, 5)), int(rng.integers(0, 5))
    dtype = like.dtype
    kind = rng.integers(9)
    if kind == 0:
        return jnp.eye(n, dtype=dtype)
    if kind == 1:
        return jnp.eye(n, m, k=int(rng.integers(-1, 2)), dtype=dtype)
    if kind == 2:
        return jnp.ones(like.shape, dtype)
    if kind == 3:
        return jnp.zeros(like.shape, dtype)
    if kind == 4:
        return jnp.full((n, m), 3, dtype)
    if kind == 5:
        return jnp.arange(n).astype(dtype)
    if kind == 6:
        return jax.nn.one_hot(jnp.arange(n) % 3, 4, dtype=dtype)
    if kind == 7:
        return jnp.asarray(np.random.default_rng(n).integers(-2, 3, (n, n)), dtype)
    return jnp.tri(n, dtype=dtype)


def diagonal(rng: Rng, pool: Pool) -> Any:
    x = pool.pick(rng, square)
    y = pool.pick(rng, ranked(1, 1))
    kind = rng.integers(5)
    if kind == 0 and y is not None and 0 < y.size <= 8:
        return jnp.diag(y)
    if x is None:
        return None
    if kind == 1:
        return jnp.trace(x)
    if kind == 2:
        return jnp.diag(jnp.diag(x))
    if kind == 3:
        return x @ jnp.eye(x.shape[0], dtype=x.dtype) + 2 * x.T
    return jnp.diag(x)


def slices(rng: Rng, pool: Pool) -> Any:
    x = pool.pick(rng, lambda x: x.ndim > 0 and min(x.shape) > 0)
    if x is None:
        return None
    axis = axis_of(rng, x)
    n = x.shape[axis]
    kind = rng.integers(6)
    if kind == 0:
        return lax.slice_in_dim(x, 0, max(n - 1, 0), axis=axis)
    if kind == 1:
        return jnp.flip(x, axis)
    if kind == 2:
        return lax.index_in_dim(x, n // 2, axis, keepdims=False)
    if kind == 3:
        index = next((a for a in pool.arguments if a.dtype == jnp.int32 and a.ndim == 0), jnp.int32(1))
        return lax.dynamic_slice_in_dim(x, index, max(n - 1, 1), axis)
    if kind == 4:
        return jnp.take(x, jnp.asarray([0, n - 1, 0]), axis=axis)
    return lax.slice_in_dim(x, 0, n, 2, axis)


def join(rng: Rng, pool: Pool) -> Any:
    x = pool.pick(rng, lambda x: 0 < x.ndim <= 3 and x.size <= 100)
    if x is None:
        return None
    axis = axis_of(rng, x)
    y = pool.pick(rng, lambda y: y.shape == x.shape and y.dtype == x.dtype)
    kind = rng.integers(4)
    if kind == 0:
        return jnp.stack([x, y], axis)
    if kind == 1:
        return jnp.pad(x, 1) if number(x) else x
    if kind == 2:
        return jnp.concatenate([x, y, x], axis)
    return x.at[(slice(None),) * axis + (0,)].set(x.dtype.type(0)) if min(x.shape) > 0 else x


def scans(rng: Rng, pool: Pool) -> Any:
    x = pool.pick(rng, lambda x: x.ndim > 0 and min(x.shape) > 0 and number(x))
    if x is None:
        return None
    kind = rng.integers(4)
    if kind == 0:
        return jnp.cumsum(x, axis_of(rng, x))
    if not inexact(x) or not real(x):
        return jnp.cumsum(x, 0)
    if kind == 1:
        return jax.nn.softmax(x, axis_of(rng, x))
    if kind == 2:
        mean = x.mean(-1, keepdims=True)
        return (x - mean) * lax.rsqrt(((x - mean) ** 2).mean(-1, keepdims=True) + 1e-3)
    return jax.nn.logsumexp(x, axis_of(rng, x))


def convert(rng: Rng, pool: Pool) -> Any:
    x = pool.pick(rng, lambda x: not jnp.issubdtype(x.dtype, jnp.complexfloating))
    if x is None:
        return None
    wanted = [a.dtype for a in pool.arguments if real(a)]
    return x.astype(wanted[rng.integers(len(wanted))]) if wanted else x


STEPS: dict[Step, float] = {
    scale: 2,
    einsum: 3,
    matmul: 4,
    transpose: 2,
    broadcast: 1.5,
    reshape: 1,
    reduce: 2.5,
    unary: 3,
    binary: 4,
    divide: 0.7,
    extremes: 0.5,
    where: 1.5,
    leaf: 2,
    diagonal: 1.5,
    slices: 1.2,
    join: 1,
    scans: 0.8,
    convert: 0.3,
}
RING: dict[Step, float] = {
    scale: 1.5,
    einsum: 4,
    matmul: 5,
    transpose: 2,
    broadcast: 1,
    reduce: 1.5,
    binary: 4,
    where: 0.7,
    leaf: 1.5,
    diagonal: 2.5,
    slices: 0.3,
    unary: 0.5,
}
"""Steps that an einsum or a sum is made of: what rules are about."""


def steps(rng: Rng, arguments: Sequence[Any], count: int, table: dict[Step, float]) -> Pool:
    """A pool after some steps; steps for which no value fits, and large or wild results, are left out."""
    pool = Pool(arguments)
    weights = np.array(list(table.values()))
    for _ in range(count):
        seed = int(rng.integers(1 << 31))
        step = list(table)[rng.choice(len(table), p=weights / weights.sum())]
        value = step(np.random.default_rng(seed), pool)
        if value is not None and value.size <= MAX_SIZE and value.ndim <= 6:
            # Keeps products of products in range, and is a step of its own for the optimiser.
            pool.values.append(jnp.tanh(value) if real(value) and rng.random() < 0.15 else value)
    return pool


def total(values: Sequence[Any]) -> Any:
    """A smooth scalar of all real values."""
    parts = [jnp.sum(jnp.sin(jnp.tanh(v))) for v in values if real(v)]
    return functools.reduce(lambda x, y: x + y.astype(x.dtype), parts) if parts else jnp.float32(0)


@dataclass(frozen=True)
class Program:
    """A random program.

    Args:
        function: of ``arguments``.
        arguments: numpy arrays.
        kind: how the steps were wrapped: "plain", "grad", "jacfwd", "vmap", "scan" ...
    """

    function: Callable[..., Any]
    arguments: list[Any]
    kind: str


KINDS = ("plain",) * 7 + ("grad",) * 2 + ("jacfwd", "jacrev", "hvp", "jvp", "vmap", "scan", "while", "cond")


def random_program(seed: int, double: bool = True, size: int | None = None, kind: str | None = None) -> Program:
    """The program of a seed; ``double`` has 64-bit floats where it else has float32, bfloat16 and complex64."""
    rng = np.random.default_rng([seed, double])
    kind = kind or KINDS[rng.integers(len(KINDS))]
    count = size if size is not None else int(rng.integers(2, 12 if kind == "plain" else 8))
    arguments = draw_arguments(rng, double, kind)
    table = RING if rng.random() < 0.4 else STEPS
    count += 4 if table is RING else 0
    state = int(rng.integers(1 << 31))
    inner_rng = functools.partial(np.random.default_rng, state)

    def plain(*args: Any) -> tuple[Any, ...]:
        pool = steps(generator := inner_rng(), args, count, table)
        made = pool.values[len(args) :]
        outputs = made[-int(generator.integers(1, 4)) :]
        if generator.random() < 0.15:
            outputs = [*outputs, pool.values[0]]
        if generator.random() < 0.1:
            outputs = [*outputs, outputs[0], jnp.ones(2)]
        return tuple(outputs)

    def loss(*args: Any) -> Any:
        return total(plain(*args))

    return Program(_wrapped(kind, plain, loss), arguments, kind)


def _wrapped(kind: str, plain: Callable[..., Any], loss: Callable[..., Any]) -> Callable[..., Any]:
    def first(function: Callable[..., Any]) -> Callable[..., Any]:
        """``function`` of its first argument, with real results only."""

        def part(x: Any, *rest: Any) -> Any:
            return [x, *(v.ravel()[:20] for v in function(x, *rest) if real(v))]

        return part

    def hvp(x: Any, *rest: Any) -> Any:
        return jax.jvp(jax.grad(lambda z: loss(z, *rest)), (x,), (jnp.cos(x),))[1]

    def scan(x: Any, *rest: Any) -> Any:
        def body(carry: Any, _: Any) -> tuple[Any, Any]:
            value = loss(carry, *rest).astype(carry.dtype)
            return jnp.tanh(carry + 0.5 * value), value

        return lax.scan(body, x, None, length=3)

    def loop(x: Any, *rest: Any) -> Any:
        def body(state: Any) -> Any:
            i, carry = state
            return i + 1, jnp.tanh(carry * 0.5 + loss(carry, *rest).astype(carry.dtype))

        return lax.while_loop(lambda state: state[0] < 3, body, (0, x))

    def cond(x: Any, *rest: Any) -> Any:
        test = jnp.sum(jnp.real(x)) > 0.1313
        return lax.cond(test, lambda: plain(x, *rest), lambda: jax.tree.map(jnp.zeros_like, plain(x, *rest)))

    wrapped: dict[str, Callable[..., Any]] = {
        "plain": plain,
        "grad": lambda *args: jax.value_and_grad(loss)(*args),
        "jacfwd": lambda *args: jax.jacfwd(first(plain))(*args),
        "jacrev": lambda *args: jax.jacrev(first(plain))(*args),
        "jvp": lambda x, *rest: jax.jvp(lambda z: first(plain)(z, *rest), (x,), (jnp.cos(x),)),
        "hvp": hvp,
        "vmap": lambda x, *rest: jax.vmap(lambda z: plain(z, *rest))(jnp.stack([x, x * 0.5, x - 1])),
        "scan": scan,
        "while": loop,
        "cond": cond,
    }
    return wrapped[kind]


def draw_arguments(rng: Rng, double: bool, kind: str) -> list[Any]:
    """Two to five arrays over few sizes, so that they fit together; the first one is real."""
    sizes = [int(n) for n in rng.choice([2, 3, 4, 5], 2)]
    if rng.random() < 0.2:
        sizes.append(1)
    if rng.random() < 0.06 and kind == "plain":
        sizes.append(0)
    wide = "float64" if double else "float32"
    narrow = "bfloat16" if not double and rng.random() < 0.15 else wide
    others = [wide] * 8 + [narrow, "int32", "bool", "complex128" if double else "complex64"]
    arguments = []
    for place in range(int(rng.integers(2, 6))):
        rank = int(rng.choice([0, 1, 1, 2, 2, 2, 2, 3, 4]))
        shape = tuple(int(n) for n in rng.choice(sizes, rank))
        dtype = wide if place == 0 else str(rng.choice(others))
        arguments.append(draw(rng, shape, dtype))
    return arguments


def draw(rng: Rng, shape: tuple[int, ...], dtype: str) -> Any:
    """An array of normal values, small integers or bools."""
    if dtype == "bool":
        return rng.random(shape) < 0.5
    if dtype == "int32":
        return np.asarray(rng.integers(-3, 4, shape), dtype)
    value = rng.standard_normal(shape)
    if dtype.startswith("complex"):
        value = value + 1j * rng.standard_normal(shape)
    return np.asarray(value, jnp.dtype(dtype))
