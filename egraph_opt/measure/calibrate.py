# SPDX-License-Identifier: Apache-2.0
"""Measures the rates of the default device in a few seconds: ``egraph-opt calibrate``.

Every probe runs inside one compiled loop, so that dispatch does not count; the fastest of a few runs is taken, as other
work on the machine only ever slows a probe down.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from dataclasses import replace
from typing import Any

import jax
import jax.numpy as jnp
from jax import lax

from egraph_opt.cost import Device
from egraph_opt.errors import CostError

Clock = Callable[[], float]
Progress = Callable[[str], None]

_SIZES = {"cpu": 1024, "gpu": 8192, "tpu": 4096}
"""Rows of the matrices of the probes."""


def calibrate(clock: Clock = time.perf_counter, progress: Progress | None = None, size: int | None = None) -> Device:
    """A description of the default JAX device with measured rates; what cannot be measured keeps its default.

    Args:
        clock: seconds since any point.
        progress: told what is being measured.
        size: rows of the matrices of the probes; None fits the kind of device.

    Raises:
        CostError: the clock does not advance.
    """
    found = jax.devices()[0]
    base = Device.default(found.platform)
    say = progress or (lambda text: None)
    n = size or _SIZES[base.kind]
    say("matrix products")
    peaks = {dtype: _product_rate(dtype, n, clock) for dtype in _product_types(base)}
    say("memory and cache")
    stream = _stream_rate(8 * n * n, clock)
    cached = max(stream, _stream_rate(n * n // 8, clock))
    matvec = _matvec_rate(2 * n, clock)
    say("elementwise functions")
    adds, exps = _vector_rate(n * n // 16, clock), _exp_rate(n * n // 4, clock)
    say("kernel starts and calls")
    launch, dispatch = _launch_seconds(clock), _dispatch_seconds(clock)
    return replace(
        base,
        name=found.device_kind,
        peak_flops={**base.peak_flops, **peaks},
        vector_flops=max(adds, exps),
        transcendentals=exps,
        bandwidth=stream,
        cache_bandwidth=cached,
        launch_seconds=max(launch, 1e-9),
        dispatch_seconds=max(dispatch, 1e-9),
        matvec_efficiency=min(1.0, max(0.05, matvec / _bandwidth(stream, cached, 2 * n, base))),
    )


def _bandwidth(stream: float, cached: float, n: int, base: Device) -> float:
    """Bandwidth that a matrix of n rows can have, by the device's cache size [byte/s]."""
    return replace(base, bandwidth=stream, cache_bandwidth=cached).bandwidth_for(4.0 * n * n)


def seconds_of(step: Callable[..., Any], state: Any, args: Sequence[Any], clock: Clock, least: float = 0.02) -> float:
    """Best time of one turn of a compiled loop ``state = step(state, *args)`` [s].

    Args:
        step: each turn needs the one before, so none can be left out.
        state: array that the loop carries.
        args: arrays that stay.
        clock: seconds since any point.
        least: a timed loop takes at least this long, as far as 100,000 turns reach [s].
    """
    loop = jax.jit(lambda count, state, *args: lax.fori_loop(0, count, lambda _, x: step(x, *args), state))
    count, best = 1, float("inf")
    jax.block_until_ready(loop(count, state, *args))
    for _ in range(20):
        start = clock()
        jax.block_until_ready(loop(count, state, *args))
        took = clock() - start
        if took >= least or count >= 100_000:
            break
        if took <= 0 and count > 100:
            raise CostError(f"calibration: {count} turns took {took} s; want a clock that advances")
        count = min(100_000, max(2 * count, int(1.2 * count * least / max(took, 1e-6))))
    for _ in range(3):
        start = clock()
        jax.block_until_ready(loop(count, state, *args))
        best = min(best, clock() - start)
    return max(min(best, took), 1e-30) / count


def _product_types(base: Device) -> list[str]:
    wide = ["float64"] if jax.config.jax_enable_x64 else []  # type: ignore[attr-defined]
    return ["float32", *wide, *(["bfloat16", "float16"] if base.kind != "cpu" else ["bfloat16"])]


def _product_rate(dtype: str, n: int, clock: Clock) -> float:
    x = jnp.full((n, n), 1.0 / n, dtype)
    return 2.0 * n**3 / seconds_of(lambda a, b: a @ b, x, (x,), clock)


def _stream_rate(n: int, clock: Clock) -> float:
    """Read two arrays of ``n`` floats and write one [byte/s]."""
    x = jnp.ones(n, jnp.float32)
    return 12.0 * n / seconds_of(lambda a, b: a * b, x, (x,), clock)


def _matvec_rate(n: int, clock: Clock) -> float:
    a, x = jnp.full((n, n), 1.0 / n, jnp.float32), jnp.ones(n, jnp.float32)
    return 4.0 * n * n / seconds_of(lambda x, a: a @ x, x, (a,), clock)


def _vector_rate(n: int, clock: Clock, steps: int = 32) -> float:
    """A chain of multiplications and additions in cache [flop/s]."""
    x = jnp.full(n, 0.5, jnp.float32)

    def chain(value: Any, a: Any) -> Any:
        for _ in range(steps):
            value = value * a + a
        return value

    return 2.0 * steps * x.size / seconds_of(chain, x, (x,), clock)


def _exp_rate(n: int, clock: Clock) -> float:
    x = jnp.full(n, 0.5, jnp.float32)
    return x.size / seconds_of(lambda a: jnp.exp(-a), x, (), clock)


def _launch_seconds(clock: Clock, kernels: int = 65) -> float:
    """What one more tiny matrix product adds to a program outside of loops [s]."""
    a, x = jnp.full((16, 16), 1.0 / 16, jnp.float32), jnp.ones(16, jnp.float32)

    def chain(count: int) -> Callable[..., Any]:
        def run(a: Any, x: Any) -> Any:
            for _ in range(count):
                x = a @ x
            return x

        return jax.jit(run)

    times = []
    for function in (chain(kernels), chain(1)):
        jax.block_until_ready(function(a, x))
        calls = []
        for _ in range(50):
            start = clock()
            jax.block_until_ready(function(a, x))
            calls.append(clock() - start)
        times.append(min(calls))
    return (times[0] - times[1]) / (kernels - 1)


def _dispatch_seconds(clock: Clock, calls: int = 200) -> float:
    x = jnp.ones(16, jnp.float32)
    call = jax.jit(lambda a: a + 1.0)
    jax.block_until_ready(call(x))
    start = clock()
    for _ in range(calls):
        jax.block_until_ready(call(x))
    return (clock() - start) / calls
