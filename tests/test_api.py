# SPDX-License-Identifier: Apache-2.0
"""The public names as a user meets them: optimize, plan, results, prepare, save and load."""

import functools
import json
import os
import subprocess
import sys

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from jax.sharding import PartitionSpec as P

import egraph_opt
from egraph_opt.errors import ArgumentError, EgraphOptError, OutputError

optimize = functools.partial(egraph_opt.optimize, budget=3.0, measure=False)


def chain(a, b, x):
    return jnp.tanh(a @ b @ x)


def normal(*shape: int, seed: int = 0) -> jax.Array:
    return jnp.asarray(np.random.default_rng(seed + sum(shape)).standard_normal(shape) / 8, jnp.float32)


A, B, X = normal(50, 50), normal(50, 50, seed=1), normal(50)


def close(got, want, rtol: float = 1e-4, atol: float = 1e-5) -> None:
    assert jax.tree.structure(got) == jax.tree.structure(want)
    for g, w in zip(jax.tree.leaves(got), jax.tree.leaves(want), strict=True):
        assert jnp.asarray(g).dtype == jnp.asarray(w).dtype
        np.testing.assert_allclose(g, w, rtol=rtol, atol=atol)


class TestCalls:
    def test_function(self):
        close(optimize(chain)(A, B, X), chain(A, B, X))

    def test_bare_decorator(self):
        @egraph_opt.optimize
        def predict(a, x):
            """Predicts."""
            return a @ a @ x

        close(predict(A, X), A @ A @ X)
        assert predict.__name__ == "predict"
        assert predict.__doc__ == "Predicts."

    def test_decorator_with_options(self):
        @egraph_opt.optimize(numerics="exact", budget=0.2, measure=False)
        def predict(a, x):
            return a.T.T @ x

        close(predict(A, X), A @ X)
        assert predict.options.budget == 0.2

    def test_method(self):
        class Model:
            weight = A

            @egraph_opt.optimize(budget=0.2, measure=False, static_argnums=0)
            def predict(self, x):
                return self.weight @ self.weight @ x

        close(Model().predict(X), A @ A @ X)

    def test_planned_once_per_types(self):
        traces = []

        def f(a, x):
            traces.append(x.shape)
            return a @ a @ x

        fast = optimize(f)
        for _ in range(3):
            fast(A, X)
        once = len(traces)
        fast(A, normal(50, 3))
        assert len(traces) > once
        again = len(traces)
        fast(A, X)
        assert len(traces) == again

    def test_pytrees_and_keywords(self):
        def f(params, x, *, shift, options=None):
            y = params["w"][0] @ params["w"][1] @ x + shift
            return {"y": (y, [x]), "none": options}

        args, kwargs = ({"w": (A, B)}, X), {"shift": jnp.float32(2)}
        close(optimize(f)(*args, **kwargs), f(*args, **kwargs))

    def test_static_arguments(self):
        def f(x, power, *, mode):
            return x**power if mode == "power" else x + power

        fast = optimize(f, static_argnums=1, static_argnames="mode")
        close(fast(X, 3, mode="power"), X**3)
        close(fast(X, 2, mode="sum"), X + 2)
        close(fast(X, 2, mode="power"), X**2)
        with pytest.raises(ArgumentError, match="static"):
            fast.plan(X, 2, mode="power")(X, 3, mode="power")
        close(fast.plan(X, 2, mode="power")(X, 2, mode="power"), X**2)

    def test_what_a_jitted_function_was_told_is_static(self):
        def f(x, power, *, mode, shift):
            return x**power if mode == "power" else x + power + shift

        fast = optimize(jax.jit(f, static_argnums=1, static_argnames="mode"))
        close(fast(X, 3, mode="power", shift=1.0), X**3)
        close(fast(X, 2, mode="sum", shift=1.0), X + 3)
        close(fast.plan(X, 2, mode="power", shift=1.0)(X, 2, mode="power", shift=1.0), X**2)

    def test_trees_with_functions_in_them(self):
        def f(model, x):
            return model["activation"](model["w"] @ model["w"] @ x)

        fast = optimize(f)
        close(fast({"w": A, "activation": jnp.tanh}, X), jnp.tanh(A @ A @ X))
        close(fast({"w": A, "activation": jnp.sin}, X), jnp.sin(A @ A @ X))
        close(jax.jit(lambda x: fast({"w": A, "activation": jnp.sin}, x))(X), jnp.sin(A @ A @ X))

    def test_weak_types(self):
        def f(x, s):
            return x * s, s * 2

        got, want = optimize(f)(X, 3.0), jax.jit(f)(X, 3.0)
        close(got, want)
        assert got[1].weak_type == want[1].weak_type
        half = X.astype(jnp.bfloat16)
        assert optimize(f)(half, 2.0)[0].dtype == jnp.bfloat16

    def test_numpy_and_scalar_arguments(self):
        close(optimize(lambda a, n: a @ a @ a[0] * n)(np.asarray(A), 2), A @ A @ A[0] * 2)

    def test_empty_and_integer_outputs(self):
        close(optimize(lambda x: ())(X), ())
        close(optimize(lambda n: (n + 1, n > 0))(jnp.arange(4)), (jnp.arange(4) + 1, jnp.arange(4) > 0))

    def test_closures(self):
        fast = optimize(lambda x: A @ B @ x)
        close(fast(X), A @ B @ X)

        @jax.jit
        def outer(scale, x):
            return optimize(lambda y: scale * (A @ B @ y))(x)

        close(outer(jnp.float32(2), X), 2 * (A @ B @ X))
        close(outer(jnp.float32(3), X), 3 * (A @ B @ X))


class TestTransformations:
    def test_jit_and_inside_jit(self):
        fast = optimize(chain)
        close(jax.jit(fast)(A, B, X), chain(A, B, X))
        close(jax.jit(lambda a, b, x: fast(a, b, x) + 1)(A, B, X), chain(A, B, X) + 1)

    def test_grad(self):
        def loss(f):
            return lambda a, b, x: jnp.sum(f(a, b, x) ** 2)

        fast = optimize(chain)
        want = jax.grad(loss(chain), argnums=(0, 1, 2))(A, B, X)
        close(jax.grad(loss(fast), argnums=(0, 1, 2))(A, B, X), want)
        close(optimize(jax.grad(loss(chain), argnums=(0, 1, 2)))(A, B, X), want)
        close(jax.grad(optimize(loss(chain)), argnums=(0, 1, 2))(A, B, X), want)

    def test_second_order(self):
        def f(x):
            return jnp.sum(jnp.tanh(A @ B @ x))

        fast = optimize(f)
        close(jax.grad(jax.grad(lambda t: fast(t * X)))(0.5), jax.grad(jax.grad(lambda t: f(t * X)))(0.5), rtol=1e-3)
        close(jax.hessian(fast)(X), jax.hessian(f)(X), rtol=1e-3)

    def test_jvp_and_vmap(self):
        fast = optimize(chain)
        batch = normal(4, 50)
        close(jax.vmap(fast, (None, None, 0))(A, B, batch), jax.vmap(chain, (None, None, 0))(A, B, batch))
        primals, tangents = (A, B, X), (B, A, X)
        close(jax.jvp(fast, primals, tangents), jax.jvp(chain, primals, tangents))

    def test_shard_map(self):
        mesh = jax.make_mesh((1,), ("b",), axis_types=(jax.sharding.AxisType.Auto,))
        fast = optimize(lambda a, x: a @ a @ x)
        run = jax.shard_map(lambda x: fast(A, x), mesh=mesh, in_specs=P(None, "b"), out_specs=P(None, "b"))
        x = normal(50, 2)
        close(run(x), A @ A @ x)

    def test_scan(self):
        fast = optimize(lambda x: A @ B @ x)
        got = jax.lax.scan(lambda c, _: (fast(c), None), X, length=3)[0]
        close(got, functools.reduce(lambda c, _: A @ B @ c, range(3), X))

    def test_custom_derivative_is_kept(self):
        @jax.custom_vjp
        def clipped(x):
            return jnp.tanh(A @ B @ x)

        clipped.defvjp(lambda x: (clipped(x), x), lambda x, g: (jnp.clip(g, -0.1, 0.1),))

        def f(x):
            return jnp.sum(clipped(x) * 3)

        close(optimize(f)(X), f(X))
        close(jax.grad(optimize(f))(X), jnp.full(50, 0.1))
        close(optimize(jax.grad(f))(X), jnp.full(50, 0.1))


class TestPlan:
    def test_arrays_and_types_agree(self):
        fast = optimize(chain)
        types = jax.tree.map(lambda x: jax.ShapeDtypeStruct(x.shape, x.dtype), (A, B, X))
        for args in ((A, B, X), types):
            result = fast.plan(*args)
            assert result.report.flops_after < result.report.flops_before / 5
            close(result(A, B, X), chain(A, B, X))

    def test_plan_serves_the_call(self):
        traces = []

        def f(a, x):
            traces.append(1)
            return a @ a @ x

        fast = optimize(f)
        fast.plan(A, X)
        count = len(traces)
        close(fast(A, X), A @ A @ X)
        assert len(traces) == count

    def test_fields(self):
        result = optimize(chain).plan(A, B, X)
        assert isinstance(result, egraph_opt.Result)
        assert egraph_opt.Graph.parse(str(result.before)) == result.before
        assert egraph_opt.Graph.parse(str(result.after)) == result.after
        assert result.report.improved
        assert result.report.verified
        assert result.report.rules_fired
        assert "test_api.py" in str(result.explain())
        assert "flop" in str(result)

    def test_report_json(self):
        report = optimize(chain).plan(A, B, X).report
        values = json.loads(report.to_json())
        names = (
            "flops_before flops_after bytes_before bytes_after seconds_before seconds_after rules_fired stop_reason"
            " seconds_saturate seconds_extract seconds_verify seconds_measure seconds_total error_before error_after"
            " improved"
        )
        assert set(names.split()) <= set(values)
        assert values["seconds_before"] is None
        assert values["error_after"] < 1e-4
        assert "<td>" in report.to_html()

    def test_measured(self):
        a = normal(400, 400)
        report = egraph_opt.optimize(chain, budget=0.5, measure=True).plan(a, a, normal(400)).report
        assert report.seconds_before > 0
        assert report.seconds_after > 0
        assert report.improved == (report.seconds_after < report.seconds_before)
        assert report.decision

    def test_nothing_to_gain_keeps_the_original(self):
        result = optimize(lambda x: jnp.sin(x)).plan(X)
        assert not result.report.improved
        assert result.after == result.before
        assert "no gain" in str(result)
        close(result(X), jnp.sin(X))

    def test_why_not(self):
        result = optimize(chain).plan(A, B, X)
        fired = next(iter(result.report.rules_fired))
        assert result.why_not(fired).verdict == "used"
        assert "no rule has this name" in str(result.why_not("no-such-rule"))
        assert f"did you mean {fired}" in str(result.why_not(fired + "s"))
        for rule in list(egraph_opt.RuleSet.shipped())[::10]:
            assert rule.name in str(result.why_not(rule.name))

    def test_wrong_calls(self):
        result = optimize(chain).plan(A, B, X)
        with pytest.raises(ArgumentError, match="argument x: want f32"):
            result(A, B, normal(50, 2))
        with pytest.raises(ArgumentError, match="argument a: want f32"):
            result(A.astype(jnp.bfloat16), B, X)
        with pytest.raises(ArgumentError, match="structure"):
            result(A, B)
        with pytest.raises(ArgumentError, match="structure"):
            result(A, (B,), X)
        with pytest.raises(ArgumentError):
            optimize(chain).plan(A, B)

    def test_user_errors_pass_unchanged(self):
        def f(x):
            raise KeyError("mine")

        with pytest.raises(KeyError, match="mine"):
            optimize(f)(X)
        with pytest.raises(TypeError):
            optimize(lambda a: a @ a)(X[:, None])

    def test_python_source_runs_alone(self):
        source = optimize(chain).plan(A, B, X).to_python("fast")
        assert "egraph_opt" not in source.replace("Written by egraph_opt", "")
        namespace: dict[str, object] = {}
        exec(source, namespace)
        close(namespace["fast"](A, B, X), chain(A, B, X))  # type: ignore[operator]


class TestFrozen:
    @staticmethod
    def layer(params, x, scale):
        return scale * (params["a"] @ params["b"] @ x)

    def test_prepare(self):
        result = optimize(self.layer, frozen=("params",)).plan({"a": A, "b": B}, normal(50, 200), 2.0)
        run = result.prepare({"a": A, "b": B})
        x = normal(50, 200, seed=5)
        want = self.layer({"a": A, "b": B}, x, 3.0)
        close(run(x, 3.0), want)
        close(run(x, scale=3.0), want)
        close(run(scale=3.0, x=x), want)
        close(result({"a": A, "b": B}, x, 3.0), want)
        assert any("prepare(params)" in note for note in result.report.notes)
        other = result.prepare({"a": B, "b": A})
        close(other(x, 3.0), self.layer({"a": B, "b": A}, x, 3.0))

    def test_several_frozen_and_keywords(self):
        def f(a, x, *, b, shift):
            return a @ b @ x + shift

        result = optimize(f, frozen=("b", "a")).plan(A, normal(50, 200), b=B, shift=1.0)
        x = normal(50, 200, seed=5)
        close(result.prepare(A, B)(x, shift=2.0), f(A, x, b=B, shift=2.0))
        close(result.prepare(A, b=B)(x, shift=2.0), f(A, x, b=B, shift=2.0))
        for frozen, named in (((A,), {"a": A}), ((A, B), {"b": B}), ((), {"b": B}), ((A,), {"c": B})):
            with pytest.raises(ArgumentError, match="prepare: want 2 values"):
                result.prepare(*frozen, **named)

    def test_static_parts_of_frozen_and_free_arguments(self):
        def f(model, x, mode):
            y = model["activation"](model["w"] @ model["w"] @ x)
            return y if mode == "plain" else -y

        result = optimize(f, frozen="model", static_argnames="mode").plan({"w": A, "activation": jnp.tanh}, X, "minus")
        run = result.prepare({"w": B, "activation": jnp.tanh})
        close(run(X, "minus"), -jnp.tanh(B @ B @ X))
        with pytest.raises(ArgumentError, match="static"):
            run(X, "plain")
        with pytest.raises(ArgumentError, match="static"):
            result.prepare({"w": B, "activation": jnp.sin})
        with pytest.raises(ArgumentError, match="structure"):
            result.prepare({"v": B, "activation": jnp.tanh})

    def test_closed_over_arrays_are_prepared_too(self):
        result = optimize(lambda a, x: a @ B @ x, frozen=("a",)).plan(A, normal(50, 200))
        x = normal(50, 200, seed=5)
        close(result.prepare(A)(x), A @ B @ x)

    def test_wrong_use(self):
        with pytest.raises(ArgumentError, match="no argument is frozen"):
            optimize(chain).plan(A, B, X).prepare(A)
        with pytest.raises(ArgumentError, match="frozen='nobody'"):
            optimize(chain, frozen="nobody").plan(A, B, X)
        result = optimize(chain, frozen=("a", "b")).plan(A, B, X)
        with pytest.raises(ArgumentError, match="want 2 values"):
            result.prepare(A)
        with pytest.raises(ArgumentError, match="structure"):
            result.prepare((A, A), B)
        with pytest.raises(ArgumentError, match="argument a: want"):
            result.prepare(A[:3], B)
        run = result.prepare(A, B)
        with pytest.raises(ArgumentError, match="missing"):
            run()
        with pytest.raises(ArgumentError, match="want 1 arguments"):
            run(X, X)
        with pytest.raises(ArgumentError, match="argument x"):
            run(X[:3])
        with pytest.raises(ArgumentError, match="'y'"):
            run(X, y=X)


class TestOptions:
    @pytest.mark.parametrize(
        ("options", "word"),
        [
            ({"numerics": "sloppy"}, "sloppy"),
            ({"budget": -1}, "budget"),
            ({"budget": "long"}, "budget"),
            ({"measure": "maybe"}, "measure"),
            ({"objective": "beauty"}, "objective"),
            ({"frozen": (1,)}, "frozen"),
            ({"colour": "red"}, "colour"),
            ({"rules": "/nowhere"}, "/nowhere"),
            ({"cost": "vibes"}, "vibes"),
        ],
    )
    def test_refused(self, options, word):
        with pytest.raises(EgraphOptError, match=word):
            egraph_opt.optimize(chain, **options).plan(A, B, X)

    def test_no_function(self):
        with pytest.raises(ArgumentError, match=r"egraph_opt\.load"):
            egraph_opt.optimize("model.jaxexport")

    def test_assume(self):
        assert egraph_opt.assume(A, "symmetric") is A
        with pytest.raises(ArgumentError, match="sparkly"):
            egraph_opt.assume(A, "sparkly")

    def test_rules_of_ones_own(self):
        result = optimize(chain, rules=egraph_opt.RuleSet.shipped()).plan(A, B, X)
        assert result.report.improved


class TestFiles:
    def test_by_suffix(self, tmp_path):
        pytest.importorskip("flatbuffers", reason="jax.export files need it")

        def f(params, x, *, shift):
            return {"y": params["a"] @ params["b"] @ x + shift}

        params, shift = {"a": A, "b": B}, jnp.float32(1)
        result = optimize(f).plan(params, X, shift=shift)
        want = f(params, X, shift=shift)
        for suffix in (".jaxexport", ".stablehlo", ".mlir", ".py"):
            result.save(tmp_path / f"f{suffix}")
        close(egraph_opt.load(tmp_path / "f.jaxexport")(params, X, shift=shift), want)
        for suffix in (".stablehlo", ".mlir"):
            close(egraph_opt.load(tmp_path / f"f{suffix}")(A, B, X, shift), want["y"])
        namespace: dict[str, object] = {}
        exec((tmp_path / "f.py").read_text(), namespace)
        got = namespace["f"](A, B, X, shift)  # type: ignore[operator]
        close(jax.tree.leaves(got), [want["y"]])
        with pytest.raises(OutputError, match=r"\.pb"):
            result.save(tmp_path / "f.pb")
        with pytest.raises(OutputError, match="does not exist"):
            result.save(tmp_path / "nowhere" / "f.py")

    def test_loaded_model_is_a_function(self, tmp_path):
        pytest.importorskip("flatbuffers", reason="jax.export files need it")
        optimize(chain).plan(A, B, X).save(tmp_path / "m.jaxexport")
        model = egraph_opt.load(tmp_path / "m.jaxexport")
        result = optimize(model).plan(*model.example_args())
        close(result(A, B, X), chain(A, B, X))
        close(jax.grad(lambda x: jnp.sum(optimize(model)(A, B, x)))(X), jax.grad(lambda x: jnp.sum(chain(A, B, x)))(X))


def test_weights_of_a_loaded_model_are_frozen_without_asking(tmp_path):
    def network(params, x):
        return jnp.tanh(x @ params["a"] @ params["b"])

    params = {name: jax.random.normal(jax.random.key(i), (32, 32)) / 6 for i, name in enumerate("ab")}
    x = jnp.ones((64, 32))
    path = tmp_path / "network.jaxexport"
    path.write_bytes(jax.export.export(jax.jit(network))(params, x).serialize())
    model = egraph_opt.load(path)
    result = egraph_opt.optimize(model, measure=False).plan(*model.example_args())
    run = result.prepare(params)
    assert jnp.allclose(run(x), network(params, x), rtol=1e-4, atol=1e-5)
    frozen = result._with_frozen_weights
    assert frozen.report.flops_after < 0.6 * frozen.report.flops_before, "the product of the weights is made once"


def test_import_is_quiet_and_leaves_jax_alone():
    code = "import jax, egraph_opt; assert not jax.config.jax_enable_x64; print('ok')"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, env=os.environ, check=True)
    assert done.stdout == "ok\n"
    assert done.stderr == ""
