# SPDX-License-Identifier: Apache-2.0
"""The command line end to end, and one clear line with status 2 for everything that can be wrong with the input."""

import json
import os
import re
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

import jax
import jax.export
import jax.numpy as jnp
import numpy as np
import pytest

import egraph_opt
from egraph_opt.cli import main
from egraph_opt.engine.rule import rules_folder
from egraph_opt.errors import ArgumentError

pytest.importorskip("flatbuffers", reason="jax.export files need it")

EXAMPLES = Path(__file__).parents[1] / "examples" / "models"
QUICK = ["--budget", "0.5", "--no-measure"]


def chain(weights: dict[str, jax.Array], x: jax.Array) -> dict[str, jax.Array]:
    return {"y": jnp.tanh(weights["a"] @ weights["b"] @ x), "norm": jnp.sum(x * x)}


def export(path: Path, function: Callable[..., object], *types: object, **options: object) -> Path:
    exported = jax.export.export(jax.jit(function), **options)(*types)  # type: ignore[arg-type]
    path.write_bytes(exported.serialize())
    return path


@pytest.fixture(scope="module")
def model(tmp_path_factory: pytest.TempPathFactory) -> Path:
    square, thin = jax.ShapeDtypeStruct((60, 60), jnp.float32), jax.ShapeDtypeStruct((60, 2), jnp.float32)
    path = tmp_path_factory.mktemp("models") / "chain.jaxexport"
    return export(path, chain, {"a": square, "b": square}, thin, platforms=("cpu", "cuda"))


def refused(capfd: pytest.CaptureFixture[str], *arguments: object) -> str:
    """The one line of a refusal."""
    status = main([str(a) for a in arguments])
    out, err = capfd.readouterr()
    assert status == 2
    assert out == ""
    assert err.startswith("egraph-opt: ")
    assert err.endswith("\n")
    assert err.count("\n") == 1
    assert "Traceback" not in err
    return err


class TestOptimize:
    @pytest.mark.parametrize("suffix", [".jaxexport", ".stablehlo", ".mlir"])
    def test_saved_model_equals_the_original(self, model, tmp_path, capsys, suffix):
        out = tmp_path / f"fast{suffix}"
        assert main(["optimize", str(model), "-o", str(out), *QUICK]) == 0
        assert f"wrote {out}" in capsys.readouterr().out
        before, after = egraph_opt.load(model), egraph_opt.load(out)
        args = before.example_args()
        want = before(*args)
        if suffix == ".jaxexport":
            got = after(*args)
            assert after.exported.platforms == ("cpu", "cuda")
            assert after.in_tree == before.in_tree
        else:
            got = jax.tree.unflatten(before.out_tree, after(*jax.tree.leaves(args)))
        assert set(got) == {"y", "norm"}
        jax.tree.map(lambda g, w: np.testing.assert_allclose(g, w, rtol=1e-4, atol=1e-5), got, want)

    def test_python_source_runs_alone(self, model, tmp_path):
        out = tmp_path / "fast.py"
        assert main(["optimize", str(model), "-o", str(out), *QUICK]) == 0
        namespace: dict[str, object] = {}
        exec(compile(out.read_text(), str(out), "exec"), namespace)
        loaded = egraph_opt.load(model)
        args = loaded.example_args()
        got = namespace["chain"](*jax.tree.leaves(args))  # type: ignore[operator]
        for g, w in zip(jax.tree.leaves(got), jax.tree.leaves(loaded(*args)), strict=True):
            np.testing.assert_allclose(g, w, rtol=1e-4, atol=1e-5)

    def test_reports(self, model, tmp_path, capsys):
        page, figures = tmp_path / "r.html", tmp_path / "r.json"
        out = tmp_path / "fast.jaxexport"
        arguments = ["optimize", str(model), "-o", str(out), "--report", str(page), "--json", str(figures), *QUICK]
        assert main(arguments) == 0
        text = capsys.readouterr().out
        assert text.startswith("chain: ")
        assert text.endswith(f"wrote {out}\nwrote {page}\nwrote {figures}\n")
        values = json.loads(figures.read_text())
        assert values["flops_after"] < values["flops_before"] / 5
        assert values["improved"] is True
        assert values["seconds_after"] is None
        html = page.read_text()
        assert html.startswith("<!doctype html>")
        assert not re.search(r"(src|href|url)\s*[=(]", html)
        assert "Rewritten, but not timed" in html

    def test_wide_model(self, tmp_path):
        with jax.enable_x64(True):
            square, thin = jax.ShapeDtypeStruct((50, 50), jnp.float64), jax.ShapeDtypeStruct((50,), jnp.float64)
            path = export(tmp_path / "wide.jaxexport", lambda a, b, x: a @ b @ x, square, square, thin)
        out = tmp_path / "fast.jaxexport"
        assert main(["optimize", str(path), "-o", str(out), *QUICK]) == 0
        before, after = egraph_opt.load(path), egraph_opt.load(out)
        args = before.example_args()
        got = after(*args)
        assert got.dtype == np.float64
        np.testing.assert_allclose(got, before(*args), rtol=1e-12)

    def test_text_model_in(self, tmp_path):
        types = [jax.ShapeDtypeStruct(s, jnp.float32) for s in ((40, 40), (40, 40), (40,))]
        text = jax.jit(lambda a, b, x: a @ b @ x).lower(*types).as_text(dialect="stablehlo")
        path = tmp_path / "m.mlir"
        path.write_text(text)
        out = tmp_path / "m2.stablehlo"
        assert main(["optimize", str(path), "-o", str(out), *QUICK]) == 0
        args = egraph_opt.load(path).example_args()
        np.testing.assert_allclose(egraph_opt.load(out)(*args), egraph_opt.load(path)(*args), rtol=1e-4, atol=1e-4)

    def test_frozen_weights_are_told(self, model, tmp_path, capsys):
        out = tmp_path / "fast.jaxexport"
        assert main(["optimize", str(model), "-o", str(out), "--frozen", "arg0", *QUICK]) == 0
        assert "frozen arguments (arg0)" in capsys.readouterr().out
        before, after = egraph_opt.load(model), egraph_opt.load(out)
        args = before.example_args()
        np.testing.assert_allclose(after(*args)["y"], before(*args)["y"], rtol=1e-4, atol=1e-5)


class TestOtherCommands:
    def test_inspect(self, model, capsys):
        assert main(["inspect", str(model), "--graph"]) == 0
        out = capsys.readouterr().out
        assert "chain:" in out
        assert "einsum" in out
        assert "graph @main(" in out

    def test_explain(self, model, capsys):
        assert main(["explain", str(model), *QUICK]) == 0
        out = capsys.readouterr().out
        assert "flop" in out
        assert "test_cli.py" in out

    def test_explain_why_not(self, model, capsys):
        assert main(["explain", str(model), *QUICK, "--why-not", "no-rule", "--why-not", str(model)]) == 0
        first, second = (line for line in capsys.readouterr().out.splitlines() if not line.startswith("  "))
        assert first == "no-rule: no-such-rule, no rule has this name"
        assert second.startswith((f"{model}: dearer, ", f"{model}: winner, "))
        assert main(["explain", str(model), *QUICK, "--why-not", "none.onnx"]) == 2
        assert capsys.readouterr().err.startswith("egraph-opt: none.onnx: there is no such file")

    def test_rules(self, capsys):
        assert main(["rules", "list"]) == 0
        assert "reassociate" in capsys.readouterr().out
        assert main(["rules", "lint"]) == 0
        assert "no faults" in capsys.readouterr().out

    def test_rules_check(self, capsys, tmp_path):
        assert main(["rules", "check", str(rules_folder() / "contract.egg")]) == 0
        assert " 0 refused" in capsys.readouterr().out
        wrong = tmp_path / "wrong.egg"
        wrong.write_text(
            ";; tanh x = x, which it is not.\n;; numerics: reassociate\n"
            '(rewrite (Tanh ?x) ?x :name "tanh-is-nothing")\n'
        )
        assert main(["rules", "check", str(wrong)]) == 1
        assert "tanh-is-nothing" in capsys.readouterr().out

    def test_calibrated_cost(self, model, tmp_path, capsys):
        from egraph_opt.cost import Device

        device = tmp_path / "device.json"
        device.write_text(Device.default("gpu").to_json())
        assert main(["explain", str(model), "--cost", str(device), *QUICK]) == 0

    def test_version(self, capsys):
        with pytest.raises(SystemExit) as stop:
            main(["--version"])
        assert stop.value.code == 0
        assert capsys.readouterr().out.startswith("egraph-opt ")


BAD_FILES = {
    "empty.jaxexport": b"",
    "garbage.jaxexport": bytes(range(256)) * 8,
    "garbage.stablehlo": bytes(range(256)) * 8,
    "prose.stablehlo": b"Dear reader,\nthis is no StableHLO.\n",
    "prose.mlir": b"module { func.func @main( }",
    "unknown.mlir": b"""module @m { func.func public @main(%arg0: tensor<3xf32>) -> tensor<3xf32> {
      %0 = stablehlo.custom_call @nobody_knows(%arg0) : (tensor<3xf32>) -> tensor<3xf32>
      return %0 : tensor<3xf32> } }""",
    "model.pt": b"PK",
    "nosuffix": b"x",
}


class TestBadInput:
    @pytest.mark.parametrize("name", BAD_FILES)
    @pytest.mark.parametrize("command", ["optimize", "inspect"])
    def test_files(self, capfd, tmp_path, name, command):
        path = tmp_path / name
        path.write_bytes(BAD_FILES[name])
        out = tmp_path / "out.jaxexport"
        line = refused(capfd, command, path, *(["-o", out] if command == "optimize" else []))
        assert name in line
        assert sorted(p.name for p in tmp_path.iterdir()) == [name]

    def test_unknown_op_is_named(self, capfd, tmp_path):
        path = tmp_path / "unknown.mlir"
        path.write_bytes(BAD_FILES["unknown.mlir"])
        assert "nobody_knows" in refused(capfd, "inspect", path)

    def test_missing_and_folder(self, capfd, tmp_path):
        assert "no such file" in refused(capfd, "inspect", tmp_path / "nothing.jaxexport")
        folder = tmp_path / "folder.jaxexport"
        folder.mkdir()
        assert "folder" in refused(capfd, "inspect", folder)

    @pytest.mark.parametrize("share", [0.1, 0.5, 0.9, 0.99])
    def test_truncated(self, capfd, tmp_path, model, share):
        content = model.read_bytes()
        path = tmp_path / "cut.jaxexport"
        path.write_bytes(content[: int(share * len(content))])
        refused(capfd, "inspect", path)

    def test_truncated_text(self, capfd, tmp_path, model):
        whole = tmp_path / "whole.stablehlo"
        assert main(["optimize", str(model), "-o", str(whole), *QUICK]) == 0
        capfd.readouterr()
        path = tmp_path / "cut.stablehlo"
        text = whole.read_bytes()
        path.write_bytes(text[: 2 * len(text) // 3])
        refused(capfd, "inspect", path)

    @pytest.mark.parametrize("flag", ["-o", "--report", "--json"])
    def test_outputs(self, capfd, tmp_path, model, flag):
        fine = ["-o", tmp_path / "fine.jaxexport"] if flag != "-o" else []

        def run(path: Path) -> str:
            return refused(capfd, "optimize", model, flag, path, *fine)

        assert "does not exist" in run(tmp_path / "nowhere" / "out.jaxexport")
        folder = tmp_path / "folder.jaxexport"
        folder.mkdir()
        assert "is a folder" in run(folder)
        kept = tmp_path / "kept.jaxexport"
        kept.write_bytes(b"old")
        kept.chmod(0o444)
        assert "read-only" in run(kept)
        assert kept.read_bytes() == b"old"
        assert "cannot be written" in run(Path("/proc/out.jaxexport"))
        assert sorted(p.name for p in tmp_path.iterdir()) == ["folder.jaxexport", "kept.jaxexport"]

    def test_same_output_twice(self, capfd, tmp_path, model):
        out = tmp_path / "out.py"
        assert "same file" in refused(capfd, "optimize", model, "-o", out, "--json", out)

    def test_output_suffix(self, capfd, tmp_path, model):
        line = refused(capfd, "optimize", model, "-o", tmp_path / "out.pb")
        assert ".pb" in line
        assert not list(tmp_path.iterdir())

    @pytest.mark.parametrize(
        ("arguments", "word"),
        [
            (["--budget", "soon"], "soon"),
            (["--budget", "-1"], "-1"),
            (["--budget", "nan"], "nan"),
            (["--budget", "inf"], "inf"),
            (["--numerics", "sloppy"], "sloppy"),
            (["--cost", "vibes"], "vibes"),
            (["--cost", "/nowhere/device.json"], "/nowhere/device.json"),
            (["--rules", "/nowhere/rules"], "/nowhere/rules"),
            (["--frozen", "arg7"], "arg7"),
            (["--magic"], "--magic"),
        ],
    )
    def test_options(self, capfd, tmp_path, model, arguments, word):
        assert word in refused(capfd, "optimize", model, "-o", tmp_path / "out.py", *arguments)
        assert not list(tmp_path.iterdir())

    @pytest.mark.parametrize(
        "text", ["(rewrite (Tanh ?x)", "nonsense", '(rewrite (Nope ?x) ?x :ruleset bad :name "a-b")']
    )
    def test_rules(self, capfd, tmp_path, model, text):
        rules = tmp_path / "bad.egg"
        rules.write_text(text)
        assert "bad.egg" in refused(capfd, "optimize", model, "-o", tmp_path / "out.py", "--rules", rules)
        assert main(["rules", "lint", str(rules)]) == 1
        assert "bad.egg:1: " in capfd.readouterr().out

    def test_usage(self, capfd, model):
        assert "frobnicate" in refused(capfd, "frobnicate")
        assert "-o" in refused(capfd, "optimize", model)
        assert "COMMAND" in refused(capfd)
        assert "MODEL" in refused(capfd, "inspect")
        assert "polish" in refused(capfd, "rules", "polish")


class TestCallingConventions:
    def test_keyword_model(self, capfd, tmp_path):
        exported = jax.export.export(jax.jit(lambda w, *, x: w @ w @ x))(
            jax.ShapeDtypeStruct((9, 9), jnp.float32), x=jax.ShapeDtypeStruct((9,), jnp.float32)
        )
        path, output = tmp_path / "keyword.jaxexport", tmp_path / "out.jaxexport"
        path.write_bytes(exported.serialize())
        assert main(["inspect", str(path)]) == 0
        assert main(["optimize", str(path), "-o", str(output), "--no-measure"]) == 0
        again = jax.export.deserialize(bytearray(output.read_bytes()))
        assert (again.in_tree, again.in_avals) == (exported.in_tree, exported.in_avals)
        with pytest.raises(ArgumentError, match="keyword"):
            egraph_opt.load(path).example_args()

    def test_sizes_of_open_dimensions(self, capfd, tmp_path):
        (rows,) = jax.export.symbolic_shape("b")
        exported = jax.export.export(jax.jit(lambda x: jnp.tanh(x)))(jax.ShapeDtypeStruct((rows, 5), jnp.float32))
        path, output = tmp_path / "open.jaxexport", tmp_path / "out.jaxexport"
        path.write_bytes(exported.serialize())
        arguments = ["optimize", path, "-o", output, "--no-measure"]
        for given, size in (([], 8), (["--shape", "b=3"], 3)):
            assert main([str(a) for a in [*arguments, *given]]) == 0
            assert f"open; planned for b={size}, and a saved program" in capfd.readouterr().out
            assert jax.export.deserialize(bytearray(output.read_bytes())).in_avals[0].shape == (size, 5)
        assert "want sizes of the dimensions b" in refused(capfd, *arguments, "--shape", "x=3,5")


MARKED = """
import atexit, os, pathlib, sys
from egraph_opt.cli import main
from egraph_opt.engine.rule import rules_folder
from egraph_opt.errors import ArgumentError
from egraph_opt.engine import Saturation

saturate = Saturation.run

def run(self):
    atexit.register(os.abort)  # as XLA's threads may, when Python ends while they work
    pathlib.Path(os.environ["MARK"]).touch()
    return saturate(self)

Saturation.run = run
sys.exit(main())
"""
"""The command, telling by a file that the search has begun."""


IMPORTING = """
import os, pathlib, sys, time

class Slow:
    def find_spec(self, name, path=None, target=None):
        if name == os.environ["MODULE"]:
            pathlib.Path(os.environ["MARK"]).touch()
            time.sleep(60)

sys.meta_path.insert(0, Slow())
from egraph_opt.cli import main
sys.exit(main())
"""
"""The command, telling by a file that an import has begun, which then takes long."""


class TestProcess:
    """What only a process of its own can show."""

    def start(
        self, folder: Path, *arguments: object, script: str = MARKED, **environment: str
    ) -> subprocess.Popen[str]:
        environment = {**os.environ, "TMPDIR": str(folder), "MARK": str(folder.parent / "mark"), **environment}
        return subprocess.Popen(
            [sys.executable, "-c", script, *map(str, arguments)],
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
            env=environment,
        )

    @pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
    def test_interrupt_in_the_search(self, tmp_path, number):
        scratch, outputs = tmp_path / "scratch", tmp_path / "outputs"
        scratch.mkdir()
        outputs.mkdir()
        model, out = EXAMPLES / "pinn_mlp.jaxexport", outputs / "out.jaxexport"
        process = self.start(scratch, "optimize", model, "-o", out, "--report", outputs / "r.html", "--budget", "60")
        self.interrupt(process, tmp_path / "mark", number)
        assert not list(outputs.iterdir())
        assert not list(scratch.iterdir())

    @pytest.mark.parametrize("module", ["jax", "egglog", "egraph_opt.cli.run"])
    def test_interrupt_while_importing(self, tmp_path, module):
        scratch = tmp_path / "scratch"
        scratch.mkdir()
        process = self.start(scratch, "--help", script=IMPORTING, MODULE=module)
        self.interrupt(process, tmp_path / "mark")

    def interrupt(self, process: subprocess.Popen[str], mark: Path, number: int = signal.SIGINT) -> None:
        deadline = time.monotonic() + 60
        while not mark.exists() and time.monotonic() < deadline:
            time.sleep(0.02)
        time.sleep(0.2)
        process.send_signal(number)
        out_text, err = process.communicate(timeout=60)
        assert process.returncode == 2, err
        assert err == "egraph-opt: interrupted; nothing was written\n"
        assert out_text == ""

    def test_broken_pipe(self, tmp_path, model):
        with self.start(tmp_path, "inspect", model, "--graph") as process:
            assert process.stdout is not None
            assert process.stderr is not None
            process.stdout.close()
            assert process.stderr.read() == ""
            assert process.wait(timeout=60) == 0
