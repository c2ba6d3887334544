# SPDX-License-Identifier: Apache-2.0
"""Rules from files, objects and installed packages; files that change while the process runs."""

from __future__ import annotations

import importlib
import os
from pathlib import Path
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import pytest

import egraph_opt
from egraph_opt import RuleSet
from egraph_opt.cli import main
from egraph_opt.errors import ArgumentError, RuleError
from egraph_opt.rules import packs

TEXT = """
;; {law}
;; numerics: reassociate
(rewrite ({name} ({name} ?x)) ({name} ?x) :name "twice-{lower}")
"""


def pack(name: str, law: str = "twice is once") -> str:
    return TEXT.format(name=name, law=law, lower=name.lower())


def twice(x: jax.Array) -> jax.Array:
    return jnp.abs(jnp.abs(x)) + jnp.sign(jnp.sign(x))


X = jnp.array([-1.0, 0.0, 2.0])
OPTIONS: dict[str, Any] = {"unchecked": True, "measure": False, "cost": "flops"}


def counts(function: Any) -> dict[str, int]:
    ops = function.plan(X).after.op_counts()
    return {name: ops[name] for name in ("abs", "sign")}


def test_given_rules_are_added_to_the_shipped_ones(tmp_path: Path) -> None:
    (tmp_path / "a.egg").write_text(pack("Abs"))
    (tmp_path / "b.egg").write_text(pack("Sign"))
    shipped = RuleSet.shipped()
    both = packs.collect(tmp_path)
    assert both is not None
    assert [rule.name for rule in both][-2:] == ["twice-abs", "twice-sign"]
    assert len(both) == len(shipped) + 2
    single = packs.collect([tmp_path / "a.egg", RuleSet.load(tmp_path / "b.egg"), RuleSet.load(tmp_path).rules[0]])
    assert single is not None
    assert {rule.name for rule in single} == {rule.name for rule in both}, "the same rule twice is one"
    assert packs.collect(RuleSet.load(tmp_path)) == RuleSet.load(tmp_path), "a set is used as it is"
    assert packs.collect(None) is None
    made = egraph_opt.rule(name="twice-abs", numerics="exact")(lambda x: jnp.abs(jnp.abs(x)), lambda x: jnp.abs(x))
    with pytest.raises(RuleError, match=r"rule 'twice-abs' is another rule than that of .*a\.egg:4; rename it"):
        packs.collect([tmp_path / "a.egg", made])
    with pytest.raises(ArgumentError, match="want paths, rules or a RuleSet, got int"):
        egraph_opt.optimize(twice, rules=3)


def test_every_form_is_used(tmp_path: Path) -> None:
    file = tmp_path / "a.egg"
    file.write_text(pack("Abs"))
    made = egraph_opt.rule(name="sign-of-sign", numerics="exact")(
        lambda x: jnp.sign(jnp.sign(x)), lambda x: jnp.sign(x)
    )
    assert counts(egraph_opt.optimize(twice, **OPTIONS)) == {"abs": 2, "sign": 2}
    assert counts(egraph_opt.optimize(twice, rules=str(file), **OPTIONS)) == {"abs": 1, "sign": 2}
    assert egraph_opt.optimize(twice, rules=file, **OPTIONS).plan(X).report.rules_fired == {"twice-abs": 1}
    assert counts(egraph_opt.optimize(twice, rules=made, **OPTIONS)) == {"abs": 2, "sign": 1}
    assert counts(egraph_opt.optimize(twice, rules=[file, *made], **OPTIONS)) == {"abs": 1, "sign": 1}


def test_files_are_read_again(tmp_path: Path) -> None:
    file = tmp_path / "a.egg"
    file.write_text(pack("Abs"))
    optimized = egraph_opt.optimize(twice, rules=tmp_path, **OPTIONS)
    np.testing.assert_array_equal(optimized(X), twice(X))
    assert counts(optimized) == {"abs": 1, "sign": 2}
    first = optimized.lower(X).as_text()
    file.write_text(pack("Sign"))
    np.testing.assert_array_equal(optimized(X), twice(X))
    assert optimized.lower(X).as_text() != first
    assert counts(optimized) == {"abs": 2, "sign": 1}
    (tmp_path / "b.egg").write_text(pack("Abs"))
    assert counts(optimized) == {"abs": 1, "sign": 1}
    file.unlink()
    assert counts(optimized) == {"abs": 1, "sign": 2}


def test_a_broken_edit_keeps_the_rules_and_warns_once(tmp_path: Path, recwarn: pytest.WarningsRecorder) -> None:
    file = tmp_path / "a.egg"
    file.write_text(pack("Abs"))
    optimized = egraph_opt.optimize(twice, rules=file, **OPTIONS)
    file.write_text("(rewrite (Abs ?x")
    with pytest.warns(UserWarning, match=r"a\.egg:1: this '\(' is never closed; the rules as they were"):
        assert counts(optimized) == {"abs": 1, "sign": 2}
    recwarn.clear()
    assert counts(optimized) == {"abs": 1, "sign": 2}
    assert not recwarn.list
    file.write_text(pack("Sign"))
    assert counts(optimized) == {"abs": 2, "sign": 1}


@pytest.mark.parametrize(
    ("rule", "message"),
    [
        ("(rewrite (Abz ?x) ?x", "no constructor 'Abz'"),
        ("(rewrite (Abs ?x) (Sing ?x)", "did you mean Sin"),
        ("(rewrite (Abs ?x ?y) ?x", "Abs takes 1 argument, got 2"),
        ("(rewrite (Abs ?x) (Abs ?z)", "?z in the"),
        ("(rewrite (Abs x) x", "'x' is no variable"),
        ("(rewrite (Abs ?x) ?x :when ((shrunk ?x))", "shrunk"),
        ("(rewrite (Abs ?x) ?x :when ((= ?s (shape ?x)) (shrinks ?s))", "shrinks takes 2 arguments, got 1"),
    ],
)
def test_an_edit_that_could_never_match_keeps_the_rules(tmp_path: Path, rule: str, message: str) -> None:
    """Also where rules need no check: otherwise the rule would be gone without a word."""
    file = tmp_path / "a.egg"
    file.write_text(pack("Abs"))
    optimized = egraph_opt.optimize(twice, rules=file, **OPTIONS)
    file.write_text(f';; a law\n;; numerics: exact\n{rule} :name "broken")\n')
    with pytest.warns(UserWarning, match="the rules as they were before are kept") as caught:
        assert counts(optimized) == {"abs": 1, "sign": 2}
    assert f"{file}:3: rule 'broken': " in str(caught[0].message)
    assert message in str(caught[0].message)
    assert caught[0].filename == __file__
    with pytest.raises(RuleError, match="rule 'broken': "):
        egraph_opt.optimize(twice, rules=file, **OPTIONS)


def test_an_unchecked_edit_waits_for_its_check(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    file = tmp_path / "a.egg"
    file.write_text(pack("Abs"))
    assert main(["rules", "check", str(file)]) == 0
    optimized = egraph_opt.optimize(twice, rules=file, measure=False, cost="flops")
    file.write_text(pack("Sign"))
    with pytest.warns(UserWarning, match="rule 'twice-sign' .* was never checked; .* the rules as they were"):
        assert counts(optimized) == {"abs": 1, "sign": 2}
    assert main(["rules", "check", str(file)]) == 0
    assert counts(optimized) == {"abs": 2, "sign": 1}


def test_results_are_kept_while_nothing_changes(tmp_path: Path) -> None:
    file = tmp_path / "a.egg"
    file.write_text(pack("Abs"))
    optimized = egraph_opt.optimize(twice, rules=file, **OPTIONS)
    optimized.plan(X)
    kept = optimized._results
    os.utime(file, ns=(1, 1))
    optimized(X)
    assert optimized._results is kept, "another time, the same rules"


def test_watch_is_exactly_its_files(tmp_path: Path) -> None:
    (tmp_path / "a.egg").write_text(pack("Abs"))
    watched = RuleSet.watch(tmp_path)
    optimized = egraph_opt.optimize(twice, rules=watched, **OPTIONS)
    assert [rule.name for rule in optimized.options.active_rules()] == ["twice-abs"]
    (tmp_path / "a.egg").write_text(pack("Sign"))
    assert counts(optimized) == {"abs": 2, "sign": 1}
    with pytest.raises(RuleError, match="No such file"):
        RuleSet.watch(tmp_path / "missing.egg")


def test_packs_of_installed_packages(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    folder = tmp_path / "rules"
    folder.mkdir()
    (folder / "a.egg").write_text(pack("Abs"))
    (tmp_path / "abs_pack.py").write_text(f"FOLDER = {str(folder)!r}\ndef folder():\n    return FOLDER\nWRONG = 3\n")
    info = tmp_path / "abs_pack-1.dist-info"
    info.mkdir()
    (info / "METADATA").write_text("Name: abs-pack\nVersion: 1\n")
    (info / "entry_points.txt").write_text(
        "[egraph_opt.rules]\nabs = abs_pack:folder\nplain = abs_pack:FOLDER\nwrong = abs_pack:WRONG\ngone = nowhere:x\n"
    )
    monkeypatch.syspath_prepend(str(tmp_path))
    importlib.invalidate_caches()
    assert set(packs.installed()) == {"abs", "plain", "wrong", "gone"}
    assert [rule.name for rule in packs.load("abs")] == ["twice-abs"]
    assert counts(egraph_opt.optimize(twice, rules="plain", **OPTIONS)) == {"abs": 1, "sign": 2}
    assert main(["rules", "list", "abs"]) == 0
    assert "twice-abs" in capsys.readouterr().out
    for name, message in (("wrong", "want a folder or a RuleSet, got int"), ("gone", "cannot be loaded")):
        with pytest.raises(RuleError, match=message):
            packs.load(name)


def test_python_files_hold_rules(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    file = tmp_path / "mine.py"
    file.write_text(
        "import jax.numpy as jnp\nfrom egraph_opt import rule\n"
        'twice = rule(name="twice-abs", numerics="exact")(lambda x: jnp.abs(jnp.abs(x)), lambda x: jnp.abs(x))\n'
    )
    assert main(["rules", "list", str(file)]) == 0
    assert "mine.py:3  jnp.abs(jnp.abs(x)) = jnp.abs(x)" in capsys.readouterr().out
    listed = file.read_text().replace("twice = ", "laws = [").rstrip() + "]\ntable = {'first': laws[0], 'other': 3}\n"
    file.write_text(listed)
    assert [rule.name for rule in packs.load(file)] == ["twice-abs"]
    file.write_text("x = [1, ['twice']]\n")
    assert main(["rules", "list", str(file)]) == 2
    assert "no rules are defined there" in capsys.readouterr().err
    file.write_text("1 / 0\n")
    assert main(["rules", "list", str(file)]) == 2
    assert "ZeroDivisionError" in capsys.readouterr().err
