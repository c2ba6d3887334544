# SPDX-License-Identifier: Apache-2.0
"""Registered kernels: tested at registration, chosen where they are cheaper and admitted, differentiable, forgotten."""

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from jax import lax

import egraph_opt
from egraph_opt.errors import KernelError
from egraph_opt.kernels import all_kernels
from egraph_opt.ops.kernel import KERNEL

NAME = "test_norm"


def pattern(x: Any, gain: Any) -> Any:
    """RMS norm with a gain."""
    return x * lax.rsqrt((x * x).mean(-1, keepdims=True) + 1e-6) * gain


def lowering(x: Any, gain: Any) -> Any:
    total = jnp.einsum("...n,...n->...", x, x)[..., None]
    return x * (gain * lax.rsqrt(total / x.shape[-1] + jnp.asarray(1e-6, x.dtype)))


def spelled_otherwise(x: Any, w: Any, gain: Any) -> Any:
    y = x @ w
    return jnp.tanh(gain * (y / jnp.sqrt(jnp.square(y).sum(1, keepdims=True) / y.shape[1] + 1e-6)))


@pytest.fixture(autouse=True)
def forgotten() -> Iterator[None]:
    yield
    if NAME in all_kernels():
        egraph_opt.unregister_kernel(NAME)


def register(lower: Any = lowering, shapes: Any = ("... n", "n"), **options: Any) -> None:
    options.setdefault("cost", lambda x, gain: 1e-9)
    egraph_opt.register_kernel(NAME, pattern, lower, shapes=shapes, **options)


def arguments(n: int = 32, dtype: Any = np.float32) -> tuple[Any, Any, Any]:
    random = np.random.default_rng(0)
    return tuple(jnp.asarray(random.standard_normal(s), dtype) for s in ((16, 24), (24, n), (n,)))  # type: ignore[return-value]


def kernels_in(function: Any, *args: Any, **options: Any) -> list[str]:
    result = egraph_opt.optimize(function, measure=False, verify=False, **options).plan(*args)
    return [node.attr("name") for node in result.after.nodes if node.op == KERNEL]


def test_a_cheap_kernel_is_chosen_however_the_program_spells_it() -> None:
    register()
    assert kernels_in(spelled_otherwise, *arguments()) == [NAME]
    run = egraph_opt.optimize(spelled_otherwise, measure=False)
    np.testing.assert_allclose(run(*arguments()), spelled_otherwise(*arguments()), rtol=2e-5)


def test_the_lowering_is_what_runs() -> None:
    called = []

    def counted(x: Any, gain: Any) -> Any:
        called.append(x.shape)
        return lowering(x, gain)

    register(counted)
    called.clear()
    egraph_opt.optimize(spelled_otherwise, measure=False)(*arguments())
    assert (16, 32) in called


def test_a_dear_kernel_is_not_chosen() -> None:
    register(cost=lambda x, gain: 1.0)
    assert kernels_in(spelled_otherwise, *arguments()) == []


def test_a_kernel_is_not_chosen_where_its_condition_fails() -> None:
    register(when=lambda x, gain: x.shape[-1] % 8 == 0)
    assert kernels_in(spelled_otherwise, *arguments(32)) == [NAME]
    assert kernels_in(spelled_otherwise, *arguments(30)) == []


def test_a_kernel_of_another_device_is_neither_tested_nor_chosen_here() -> None:
    def absent(x: Any, gain: Any) -> Any:
        raise AssertionError("not on this device")

    register(absent, devices="tpu")
    assert kernels_in(spelled_otherwise, *arguments()) == []


def test_exact_numerics_admit_no_kernel() -> None:
    register()
    assert kernels_in(spelled_otherwise, *arguments(), numerics="exact") == []


def test_programs_that_only_look_like_the_pattern_do_not_hold_it() -> None:
    def other_axis(x: Any, w: Any, gain: Any) -> Any:
        y = x @ w
        return gain * (y / jnp.sqrt(jnp.square(y).sum(0, keepdims=True) / y.shape[0] + 1e-6))

    def other_eps(x: Any, w: Any, gain: Any) -> Any:
        y = x @ w
        return gain * (y / jnp.sqrt(jnp.square(y).mean(1, keepdims=True) + 2e-6))

    def no_mean(x: Any, w: Any, gain: Any) -> Any:
        y = x @ w
        return gain * (y / jnp.sqrt(jnp.square(y).sum(1, keepdims=True) + 1e-6))

    register()
    for decoy in (other_axis, other_eps, no_mean):
        assert kernels_in(decoy, *arguments()) == [], decoy.__name__


def test_derivatives_go_through_a_kernel() -> None:
    register()
    run = egraph_opt.optimize(spelled_otherwise, measure=False)
    args = arguments(8)
    weights = jnp.cos(jnp.arange(16.0 * 8)).reshape(16, 8)

    def loss(function: Any) -> Any:
        return lambda *xs: (function(*xs) * weights).sum()

    for order in (jax.grad, lambda f, n: jax.jacrev(jax.grad(f, n), n), lambda f, n: jax.jacfwd(jax.grad(f, n), n)):
        found, want = (order(loss(f), 2)(*args) for f in (run, spelled_otherwise))  # type: ignore[operator]
        np.testing.assert_allclose(found, want, rtol=1e-3, atol=1e-4)
    tangent = jax.jvp(run, args, args)[1]
    np.testing.assert_allclose(tangent, jax.jvp(spelled_otherwise, args, args)[1], rtol=1e-3, atol=1e-4)


def test_vmap_goes_through_a_kernel() -> None:
    register()
    x, w, gain = arguments()
    many = jnp.stack([gain, 2 * gain])
    run = jax.vmap(egraph_opt.optimize(spelled_otherwise, measure=False), (None, None, 0))
    np.testing.assert_allclose(run(x, w, many)[1], spelled_otherwise(x, w, 2 * gain), rtol=2e-5)


def test_a_given_vjp_is_used() -> None:
    called = []

    def vjp(arrays: Any, cotangent: Any) -> Any:
        called.append(1)
        return jax.vjp(pattern, *arrays)[1](cotangent)

    register(vjp=vjp)
    called.clear()
    run = egraph_opt.optimize(spelled_otherwise, measure=False)
    found = jax.grad(lambda g: run(*arguments()[:2], g).sum())(arguments()[2])
    assert called
    np.testing.assert_allclose(
        found, jax.grad(lambda g: spelled_otherwise(*arguments()[:2], g).sum())(arguments()[2]), rtol=1e-3, atol=1e-5
    )


def test_a_program_with_a_kernel_is_saved_and_printed(tmp_path: Path) -> None:
    register()
    args = arguments()
    result = egraph_opt.optimize(spelled_otherwise, measure=False).plan(*args)
    for suffix in (".jaxexport", ".stablehlo"):
        path = tmp_path / f"program{suffix}"
        result.save(path)
        np.testing.assert_allclose(egraph_opt.load(path)(*args), spelled_otherwise(*args), rtol=2e-5)
    scope: dict[str, Any] = {}
    exec(result.to_python("optimized"), scope)
    np.testing.assert_allclose(scope["optimized"](*args), spelled_otherwise(*args), rtol=2e-5)
    assert egraph_opt.Graph.parse(str(result.after)) == result.after


def test_a_planned_program_outlives_its_kernel() -> None:
    register()
    result = egraph_opt.optimize(spelled_otherwise, measure=False).plan(*arguments())
    egraph_opt.unregister_kernel(NAME)
    assert NAME not in all_kernels()
    np.testing.assert_allclose(result(*arguments()), spelled_otherwise(*arguments()), rtol=2e-5)
    assert kernels_in(spelled_otherwise, *arguments()) == []


def test_registering_again_replaces() -> None:
    register(cost=lambda x, gain: 1.0)
    register()
    assert kernels_in(spelled_otherwise, *arguments()) == [NAME]


def wrong_values(x: Any, gain: Any) -> Any:
    return lowering(x, gain) * 1.001


def wrong_for_many(x: Any, gain: Any) -> Any:
    return lowering(x, gain) if x.shape[-1] < 100 else lowering(x, gain) + 1


def wrong_shape(x: Any, gain: Any) -> Any:
    return lowering(x, gain).sum(-1)


def wrong_type(x: Any, gain: Any) -> Any:
    return lowering(x, gain).astype("float32")


def broken(x: Any, gain: Any) -> Any:
    raise RuntimeError("no such device\nmore")


def wrong_vjp(arrays: Any, cotangent: Any) -> Any:
    return jax.vjp(pattern, arrays[0], arrays[1])[1](2 * cotangent)


def several(x: Any, gain: Any) -> Any:
    return x, gain


def computed_shape(x: Any, gain: Any) -> Any:
    return jnp.concatenate([x, x], -1)


REFUSED = [
    ({"lower": wrong_values}, "values for .* differ from the pattern's at"),
    ({"lower": wrong_for_many}, "values for .* differ"),
    ({"lower": wrong_shape}, r"the lowering gives float64\[.*\] for .*; the pattern gives"),
    ({"lower": wrong_type}, "the lowering gives float32.*; the pattern gives float64"),
    ({"lower": broken}, "the lowering fails for .*: no such device$"),
    ({"lower": 3}, "lowering is a int; want a function"),
    ({"vjp": wrong_vjp}, "gradients by argument 0 for .* differ"),
    ({"when": lambda x, gain: x.shape[-1] == 7_001}, "its condition admits none of the shapes tried"),
    ({"when": lambda x, gain: x.no_such}, "its condition fails: AttributeError"),
    ({"shapes": ("... n",)}, "1 shapes for 2 arguments"),
    ({"shapes": ("... n", "m")}, "the pattern fails for shapes"),
    ({"shapes": ("n ...", "n")}, "want names of sizes"),
    ({"shapes": {"x": "... n"}}, "want x, gain"),
]


@pytest.mark.parametrize(("options", "message"), REFUSED, ids=[m[:24] for _, m in REFUSED])
def test_wrong_kernels_are_refused_in_one_line(options: dict[str, Any], message: str) -> None:
    with pytest.raises(KernelError, match=message) as caught:
        register(**options)
    assert "\n" not in str(caught.value)
    assert str(caught.value).startswith(f"kernel '{NAME}': ")
    assert NAME not in all_kernels()


@pytest.mark.parametrize(
    ("name", "function", "message"),
    [
        ("Norm", pattern, "want a name"),
        ("softmax", pattern, "a shipped kernel has this name"),
        (NAME, several, "returns a tuple; want one array"),
        (NAME, computed_shape, "want dimensions that they have"),
    ],
)
def test_wrong_patterns_are_refused(name: str, function: Any, message: str) -> None:
    with pytest.raises(KernelError, match=message):
        egraph_opt.register_kernel(name, function, lowering, shapes=["... n", "n"])


def test_a_refused_kernel_leaves_the_one_before() -> None:
    register()
    with pytest.raises(KernelError):
        register(wrong_values)
    assert kernels_in(spelled_otherwise, *arguments()) == [NAME]


def test_unregistering_what_is_not_there_is_refused() -> None:
    for name in ("nothing", "softmax"):
        with pytest.raises(KernelError, match="is not registered"):
            egraph_opt.unregister_kernel(name)


def test_a_cost_that_is_no_time_is_refused() -> None:
    register(cost=lambda x, gain: float("nan"))
    with pytest.raises(KernelError, match="its cost is nan; want seconds"):
        kernels_in(spelled_otherwise, *arguments())


def test_why_a_kernel_does_not_run() -> None:
    register(when=lambda x, gain: x.shape[-1] % 8 == 0)
    run = egraph_opt.optimize(spelled_otherwise, measure=False, verify=False)
    used, unfit = (run.plan(*arguments(n)).why_not(NAME) for n in (32, 30))
    assert (used.verdict, unfit.verdict) == ("used", "condition")
    assert "the conditions of registered fail" in str(unfit)
    other = egraph_opt.optimize(lambda x: jnp.tanh(x) @ x, measure=False, verify=False)
    assert other.plan(jnp.eye(4)).why_not(NAME).verdict == "absent"
