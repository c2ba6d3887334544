# SPDX-License-Identifier: Apache-2.0
"""The examples run, and the exported models are what their script says."""

import importlib.util
import runpy
import sys
from pathlib import Path
from types import ModuleType

import jax
import jax.numpy as jnp
import numpy as np
import pytest

import egraph_opt

EXAMPLES = Path(__file__).parents[1] / "examples"
PROGRAMS = sorted(EXAMPLES.glob("*.py"))
MODELS = ("pinn_mlp", "transformer_block", "kalman_step")


@pytest.fixture(scope="module")
def script() -> ModuleType:
    """The script that wrote the models; it changes a setting of JAX for the sake of the files."""
    name = "jax_hlo_source_file_canonicalization_regex"
    before = getattr(jax.config, name)
    spec = importlib.util.spec_from_file_location("make_models", EXAMPLES / "models" / "make_models.py")
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    jax.config.update(name, before)
    return module


SLOW = {"guarded"}


@pytest.mark.parametrize(
    "path",
    [pytest.param(path, marks=[pytest.mark.slow] * (path.stem in SLOW), id=path.stem) for path in PROGRAMS],
)
def test_program(path, monkeypatch, capsys, tmp_path):
    if "export" in path.stem:
        pytest.importorskip("flatbuffers", reason="jax.export files need it")
    monkeypatch.setattr(sys, "argv", [str(path), str(tmp_path)])
    runpy.run_path(str(path), run_name="__main__")
    assert "arithmetic" in capsys.readouterr().out


@pytest.mark.parametrize("path", PROGRAMS, ids=lambda path: path.stem)
def test_program_is_short(path):
    assert len(path.read_text().splitlines()) < 40


@pytest.mark.parametrize("name", MODELS)
def test_model(name, script):
    pytest.importorskip("flatbuffers", reason="jax.export files need it")
    path = EXAMPLES / "models" / f"{name}.jaxexport"
    assert path.stat().st_size < 2_000_000
    model = egraph_opt.load(path)
    args = model.example_args()
    types = {function.__name__: types for function, types, _ in script.MODELS}[name]
    same = jax.tree.map(lambda x, t: x.shape == t.shape and x.dtype == t.dtype, args, types)
    assert all(jax.tree.leaves(same))
    want, got = getattr(script, name)(*args), model(*args)
    for w, g in zip(jax.tree.leaves(want), jax.tree.leaves(got), strict=True):
        np.testing.assert_allclose(g, w, rtol=1e-3, atol=1e-3 * float(jnp.abs(w).max()))


def test_demo_model_gains():
    pytest.importorskip("flatbuffers", reason="jax.export files need it")
    model = egraph_opt.load(EXAMPLES / "models" / "pinn_mlp.jaxexport")
    args = model.example_args()
    result = egraph_opt.optimize(model, measure=False, budget=5.0).plan(*args)
    assert result.report.flops_after < result.report.flops_before / 4
    want = model(*args)
    np.testing.assert_allclose(result(*args), want, rtol=1e-3, atol=1e-4 * float(jnp.abs(want).max()))


def test_readme(monkeypatch, capsys, tmp_path):
    pytest.importorskip("onnx", reason="ONNX files need it")
    text = (EXAMPLES.parent / "README.md").read_text()
    program = tmp_path / "readme.py"
    program.write_text(text.split("```python\n")[1].split("```")[0].replace("2000", "200"))
    monkeypatch.chdir(tmp_path)
    runpy.run_path(str(program), run_name="__main__")
    assert "readme.py:6" in capsys.readouterr().out
    assert {"model.onnx", "faster.onnx"} <= {path.name for path in tmp_path.iterdir()}
