# SPDX-License-Identifier: Apache-2.0
"""Measuring and choosing, with clocks and functions made up: no test here depends on real seconds."""

import itertools
from collections.abc import Callable, Iterator

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from egraph_opt.cost import Device
from egraph_opt.errors import CostError
from egraph_opt.measure import Measurement, Timing, calibrate, choose, confirmed, measure, race
from egraph_opt.measure.choose import wins_needed
from egraph_opt.measure.loop import repeated
from egraph_opt.measure.timing import MOST_CALLS, TINY_SECONDS, WARMED_SECONDS, split_noise


class Machine:
    """A clock that functions advance; ``speed`` lets it slow down over time."""

    def __init__(self, speed: Callable[[int], float] = lambda call: 1.0) -> None:
        self.now, self.calls, self.speed = 0.0, 0, speed
        self.order: list[int] = []

    def clock(self) -> float:
        return self.now

    def function(self, name: int, seconds: float | Iterator[float]) -> Callable[[], None]:
        def run() -> None:
            own = seconds if isinstance(seconds, float) else next(seconds)
            self.now += own * self.speed(self.calls)
            self.calls += 1
            self.order.append(name)

        return run

    def measure(self, *seconds: float | Iterator[float], budget: float = 1.0, **options: int) -> Measurement:
        functions = [self.function(i, s) for i, s in enumerate(seconds)]
        return measure(functions, (), budget, clock=self.clock, prepare=lambda f: f, loops=False, **options)


def test_medians_and_compile_time() -> None:
    first = itertools.chain([2.0], itertools.repeat(0.01))
    result = Machine().measure(first, 0.02)
    assert result.timings[0].seconds == pytest.approx(0.01)
    assert result.timings[1].seconds == pytest.approx(0.02)
    assert result.timings[0].compile_seconds == pytest.approx(2.0)
    assert result.noise == pytest.approx(0.0)
    assert not result.in_loop


def test_rounds_follow_the_budget() -> None:
    # Each sample of programs that are short is led by a call that is not timed.
    assert len(Machine().measure(0.01, 0.01, budget=1.0).timings[0].samples) in (25, 26)
    assert len(Machine().measure(1e-5, budget=1.0).timings[0].samples) == 200
    assert len(Machine().measure(0.15, 0.15, budget=1.0).timings[0].samples) == 5
    # Five rounds would take ten times the budget.
    assert len(Machine().measure(1.0, 1.0, budget=1.0).timings[0].samples) == 3


def test_functions_take_turns() -> None:
    machine = Machine()
    long = 2 * WARMED_SECONDS
    machine.measure(long, long, long, budget=9.0, max_rounds=30)
    rounds = [tuple(machine.order[i : i + 3]) for i in range(6, len(machine.order), 3)]
    assert {tuple(sorted(r)) for r in rounds} == {(0, 1, 2)}
    assert len({r[0] for r in rounds}) == 3
    assert len(set(rounds)) == 6
    again = Machine()
    again.measure(long, long, long, budget=9.0, max_rounds=30)
    assert again.order == machine.order


def test_what_a_function_leaves_behind_does_not_tell_on_others() -> None:
    """A function that empties the caches slows whoever runs next: equal functions must come out equal all the same."""
    now, last = 0.0, ""

    def function(name: str, seconds: float) -> Callable[[], None]:
        def run() -> None:
            nonlocal now, last
            now += seconds * (1.0 if last in ("", name) else 2.0)
            last = name

        return run

    functions = [function("original", 0.01), function("first", 0.001), function("second", 0.001)]
    result = measure(functions, (), 1.0, clock=lambda: now, prepare=lambda f: f, loops=False)
    assert [t.seconds for t in result.timings] == pytest.approx([0.01, 0.001, 0.001])


def test_samples_of_short_programs_are_several_calls() -> None:
    machine = Machine()
    result = machine.measure(1e-5, 0.02, budget=0.1, max_rounds=4)
    assert result.timings[0].seconds == pytest.approx(1e-5)
    assert machine.order.count(0) == 2 + 4 * (1 + MOST_CALLS)
    assert machine.order.count(1) == 2 + 4 * 2


def test_a_drift_does_not_decide() -> None:
    result = Machine(speed=lambda call: 1.0 + call / 20).measure(0.01, 0.0095, budget=3.0)
    assert choose(result)[0] == 0
    assert choose(Machine(speed=lambda call: 1.0 + call / 20).measure(0.01, 0.004, budget=3.0))[0] == 1


def test_outliers_do_not_decide() -> None:
    slow_at_times = itertools.cycle([0.01] * 6 + [1.0])
    result = Machine().measure(slow_at_times, 0.01, budget=5.0)
    assert choose(result)[0] == 0
    fast_at_times = itertools.cycle([0.01] * 6 + [0.0001])
    assert choose(Machine().measure(0.01, fast_at_times, budget=5.0))[0] == 0


def timing(*samples: float, loop: tuple[float, ...] = ()) -> Timing:
    return Timing(samples, 0.0, loop)


def test_original_wins_ties() -> None:
    index, reason = choose(Measurement((timing(1.0, 1.0, 1.0), timing(0.99, 0.99, 0.99)), noise=0.0))
    assert index == 0
    assert "beyond the noise of 2%" in reason
    assert choose(Measurement((timing(1.0, 1.0, 1.0), timing(0.9, 0.9, 0.9)), noise=0.12))[0] == 0
    index, reason = choose(Measurement((timing(1.0, 1.0, 1.0), timing(0.9, 0.9, 0.9)), noise=0.05))
    assert index == 1
    assert "1.11x" in reason


def test_best_of_several() -> None:
    result = Measurement((timing(1.0), timing(0.8), timing(0.5), timing(0.6)), noise=0.05)
    assert choose(result)[0] == 2


def test_large_gain_wins_on_a_noisy_machine() -> None:
    assert choose(Measurement((timing(1.0), timing(0.1)), noise=1.5))[0] == 1
    assert choose(Measurement((timing(1.0), timing(0.5)), noise=1.5))[0] == 0


def test_nothing_to_choose() -> None:
    assert choose(Measurement((timing(1.0),), noise=0.0)) == (0, "no candidate")


def test_loops_decide_for_tiny_programs() -> None:
    original = timing(1e-5, 1e-5, loop=(1e-6, 1e-6))
    better = timing(1e-5, 1e-5, loop=(5e-7, 5e-7))
    calls_slower = timing(2e-5, 2e-5, loop=(1e-7, 1e-7))
    index, reason = choose(Measurement((original, calls_slower, better), noise=0.1, loop_noise=0.1))
    assert index == 2
    assert "2.00x as fast as the original in a compiled loop" in reason
    assert choose(Measurement((original, better), noise=0.1, loop_noise=1.2))[0] == 0


def test_a_sign_test_needs_so_many_rounds() -> None:
    """Of equal programs one wins as often by luck in fewer than one in twenty measurements."""
    assert [wins_needed(n) for n in (0, 1, 3, 5, 8, 20, 100)] == [0, 1, 3, 5, 7, 15, 59]


def test_a_winner_must_win_again() -> None:
    assert not confirmed(Measurement((timing(*[1.0] * 8), timing(*[0.9] * 8)), noise=0.5))
    assert "1.60x as long" in confirmed(Measurement((timing(*[1.0] * 8), timing(*[1.6] * 8)), noise=0.0))
    assert "0.99x as long" in confirmed(Measurement((timing(*[1.0] * 8), timing(*[0.99] * 8)), noise=0.0))
    mixed = timing(*[0.9] * 6, *[1.5] * 4)
    assert "6 of 10 rounds" in confirmed(Measurement((timing(*[1.0] * 10), mixed), noise=0.0))
    loop, slower = (1e-6,) * 9, (1e-5,) * 9
    quick = timing(*[2e-5] * 9, loop=(5e-7,) * 9)
    assert "calls took 2.00x" in confirmed(Measurement((timing(*slower, loop=loop), quick), noise=0.0))
    assert not confirmed(Measurement((timing(*[2e-5] * 9, loop=loop), quick), noise=0.0))


def test_a_race_takes_no_winner_by_luck() -> None:
    def run(later: float) -> tuple[int, str]:
        machine = Machine()
        lucky = itertools.chain([0.005] * 16, itertools.repeat(later))  # the first measurement
        functions = [machine.function(0, 0.01), machine.function(1, lucky), machine.function(2, 0.02)]
        outcome = race(functions, (), 0.7, clock=machine.clock, prepare=lambda f: f, loops=False)
        assert len(outcome.first.timings) == 3
        assert outcome.second is not None
        assert len(outcome.second.timings) == 2
        assert 2 not in machine.order[-4:]
        return outcome.index, outcome.why

    assert run(0.005)[0] == 1
    index, why = run(0.016)
    assert index == 0
    assert why.startswith("2.00x as fast as the original")
    assert why.endswith("but measured again it took 1.60x as long")
    machine = Machine()
    tie = race([machine.function(0, 0.01)] * 2, (), 0.7, clock=machine.clock, prepare=lambda f: f, loops=False)
    assert (tie.index, tie.second) == (0, None)
    assert tie.pair() == (tie.first, 0)


def test_noise_comes_from_the_original_alone() -> None:
    random = np.random.default_rng(0)
    quiet, loud = 1.0 + 0.01 * random.random(100), 1.0 + 0.5 * random.random(100)
    assert split_noise(list(quiet)) < 0.01
    assert 0.02 < split_noise(list(loud)) < 0.5
    assert split_noise([1.0] * 99 + [100.0]) == 0.0
    assert split_noise([1.0, 1.5]) == pytest.approx(0.5)
    assert split_noise([]) == 0.0


def test_loop_runs_the_function_every_time() -> None:
    calls = 0

    def count(x: np.ndarray) -> np.ndarray:
        nonlocal calls
        calls += 1
        return np.asarray(x)

    def function(x: jax.Array) -> jax.Array:
        return jax.pure_callback(count, jax.ShapeDtypeStruct(x.shape, x.dtype), x)

    jax.block_until_ready(repeated(function)(23, jnp.ones(3)))
    assert calls == 23


def test_loop_keeps_all_of_the_work() -> None:
    def function(a: jax.Array, x: jax.Array) -> tuple[jax.Array, ...]:
        return jnp.exp(a @ a), x.sum(), jnp.arange(3)

    a, x = jnp.ones((50, 50)), jnp.ones(7)
    loop = repeated(function)
    text = loop.lower(3, a, x).compile().as_text()
    entry = text[text.index("ENTRY") :]
    assert "while(" in entry
    assert "dot(" not in entry
    assert "exponential" not in entry
    for mine, want in zip(loop(3, a, x), function(a, x), strict=True):
        np.testing.assert_allclose(mine, want, rtol=1e-6)


def test_loop_carries_weak_types_keys_and_trees() -> None:
    def function(x: dict[str, jax.Array], key: jax.Array) -> dict[str, object]:
        return {"weak": jnp.sin(1.0) * 2.0, "keys": jax.random.split(key), "x": (x["x"] + 1,)}

    out = repeated(function)(4, {"x": jnp.zeros(2)}, jax.random.key(3))
    np.testing.assert_array_equal(out["keys"], jax.random.key_data(jax.random.split(jax.random.key(3))))
    np.testing.assert_array_equal(out["x"][0], 1.0)


def test_tiny_programs_are_timed_in_a_loop() -> None:
    result = measure([lambda x: x + 1, lambda x: x + 2], (jnp.ones(4),), 0.02, max_rounds=6)
    assert result.in_loop == (result.timings[0].seconds < TINY_SECONDS)
    assert len(result.timings) == 2
    assert all(t.compile_seconds > 0 for t in result.timings)
    one = measure([lambda x: x + 1], (jnp.ones(4),), 0.01, max_rounds=6)
    assert not one.in_loop


def test_calibration_gives_a_device() -> None:
    steps: list[str] = []
    ticks = itertools.count()
    device = calibrate(clock=lambda: next(ticks) * 0.5, progress=steps.append, size=64)
    assert isinstance(device, Device)
    assert device.to_json() == Device.from_json(device.to_json()).to_json()
    assert steps[0] == "matrix products"
    assert device.peak_flops["float32"] > 0


def test_calibration_wants_a_clock_that_runs() -> None:
    with pytest.raises(CostError, match="want a clock that advances"):
        calibrate(clock=lambda: 0.0, size=64)
