# SPDX-License-Identifier: Apache-2.0
"""The benchmark suites: hand forms equal their functions and take no more arithmetic; refusals are one clear line."""

import json
from pathlib import Path

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from egraph_opt.bench.case import Built, Case
from egraph_opt.bench.run import BenchOptions, Row, hand_flops, run_case
from egraph_opt.bench.suites import FAMILIES, SCORED, SUITES, Selected, folder, select, suite
from egraph_opt.bench.table import gaps, summary
from egraph_opt.bench.times import AGAIN_SECONDS, MEASURE_SECONDS, same_program, times
from egraph_opt.capture import capture
from egraph_opt.cli import main
from egraph_opt.cost import count_graph
from egraph_opt.cost.model import TRANSCENDENTAL_FLOPS
from egraph_opt.measure import Measurement, Stopwatch, Timing

HAND = [name for name in SCORED if name != "algebra"]
"""Suites with hand forms; of ``algebra`` only the counts are known."""
CHUNK = 12
"""Cases compiled together: one compilation of many small programs is much quicker than many."""
CHUNKS = [
    pytest.param(name, start, marks=pytest.mark.slow if start // CHUNK % 2 else ())
    for name in HAND
    for start in range(0, len(suite(name)), CHUNK)
]


@pytest.fixture(autouse=True, scope="module")
def quick_compilation():
    """The programs run once, so that XLA's own optimisation would cost more than it saves."""
    before = jax.config.read("jax_disable_most_optimizations")
    jax.config.update("jax_disable_most_optimizations", True)
    yield
    jax.config.update("jax_disable_most_optimizations", before)


def close(got, want, name):
    assert jax.tree.structure(got) == jax.tree.structure(want), name
    for g, w in zip(jax.tree.leaves(got), jax.tree.leaves(want), strict=True):
        assert g.dtype == w.dtype, name
        assert g.shape == w.shape, name
        g, w = (np.asarray(a, "float64" if a.dtype == jnp.bfloat16 else a.dtype) for a in (g, w))
        rounding = 3e-2 if jax.tree.leaves(got)[0].dtype == jnp.bfloat16 else 1e-9
        np.testing.assert_allclose(
            g, w, rtol=rounding, atol=rounding * max(1.0, np.max(np.abs(w), initial=0)), err_msg=name
        )
        assert np.all(np.isfinite(w)), name


@pytest.mark.alike
@pytest.mark.parametrize(("name", "start"), CHUNKS)
def test_hand_forms_are_equal(name, start):
    with jax.enable_x64(True):
        cases = suite(name)[start : start + CHUNK]
        built = [case.build(small=True) for case in cases]
        args = [one.args for one in built]
        pairs = jax.jit(lambda args: [(b.function(*a), b.hand(*a)) for b, a in zip(built, args, strict=True)])(args)
    for case, (want, got) in zip(cases, pairs, strict=True):
        close(got, want, case.name)


QUICK = ("laab", "spores")
SLOW = [pytest.param(name, marks=pytest.mark.slow) for name in HAND if name not in QUICK]


@pytest.mark.parametrize("name", [*QUICK, *SLOW])
def test_hand_forms_take_no_more_arithmetic(name):
    for case in suite(name):
        built = case.build()
        written = capture(built.function, built.args)
        count = count_graph(written.graph)
        before = count.flops + written.saved_products + TRANSCENDENTAL_FLOPS * count.transcendentals
        assert hand_flops(built) <= 1.001 * before, case.name


def test_names_are_unique():
    for name in SUITES:
        names = [case.name for case in suite(name)]
        assert len(names) == len(set(names)), name
        assert all(case.family in FAMILIES for case in suite(name)) or name not in SCORED
        assert all(case.wanted for case in suite(name)) or name not in set(SCORED) - set(HAND)


def test_suites_lie_beside_the_package():
    assert {path.stem for path in folder().glob("*.py")} >= set(SUITES)
    text = (Path(__file__).parents[1] / "pyproject.toml").read_text()
    assert '"benchmarks/programs" = "egraph_opt/_benchmarks"' in text


def test_work_on_frozen_arguments_is_no_part_of_a_call():
    args = (np.ones((40, 40), np.float32), np.ones((40, 40), np.float32), np.ones(40, np.float32))
    built = Built(lambda first, second, x: first @ (second @ x), None, args)
    one = Selected("mine", Case("product", "", lambda small: built))
    row = run_case(one, BenchOptions(flops=True, frozen=("first", "second")))
    assert row.xla[:2] == (2 * 2 * 40 * 40, 2 * 40 * 40)


def test_selection():
    assert [one.case.name for one in select(["laab/am_transpose"])] == ["am_transpose"]
    assert len(select(["laab"])) == len(suite("laab")) == 18
    families = [one.case.family for one in select(["laab"], quick=True)]
    assert len(families) == len(set(families)) > 3


def test_a_case_is_counted_and_timed():
    selected = select(["laab/matchain_rtol"])[0]
    row = run_case(selected, BenchOptions(budget=5.0, flops=True))
    assert row.improved
    assert row.excess == 1.0
    assert row.excess_before > 100
    timed = run_case(selected, BenchOptions(budget=1.0, small=True))
    assert timed.seconds[0] > 0
    assert timed.seconds[1] > 0
    assert timed.seconds[2] > 0
    assert timed.against_jit > 0
    assert timed.slowness > 0
    alone = run_case(selected, BenchOptions(against=(), budget=1.0, small=True))
    assert alone.seconds[0] is alone.seconds[2] is None
    assert alone.seconds[1] > 0


def test_times_are_compared_within_rounds(monkeypatch):
    """A machine that slows down three times over does not make two equal programs differ."""
    drift = [1.0, 2.0, 3.0, 4.0]
    samples = [[2.0 * d for d in drift], [1.0 * d for d in reversed(drift)], list(reversed(drift))]
    spent = []

    def measured(self, budget, *others):
        spent.append(budget)
        return Measurement(tuple(Timing(tuple(row)) for row in samples), noise=0.0)

    monkeypatch.setattr(Stopwatch, "measure", measured)
    forms = [lambda x: x + 1, lambda x: x + 2, lambda x: x + 2]
    found = times(forms, [np.ones(3)], True, ("jit", "hand"))
    assert found.seconds == (5.0, 2.5, 2.5)
    assert found.against_hand == 1.0
    assert found.against_jit == pytest.approx((1.5 / 2 + 2 / 3 / 2) / 2)
    assert spent == [MEASURE_SECONDS]

    samples[1] = [1.2 * d for d in reversed(drift)]
    found = times(forms, [np.ones(3)], True, ("jit", "hand"))
    assert spent[1:] == [MEASURE_SECONDS, AGAIN_SECONDS]
    assert (found.against_hand, found.same_as_hand) == (1.0, True)  # what differs is noise: they are one program
    forms[2] = lambda x: x * 3
    found = times(forms, [np.ones(3)], True, ("jit", "hand"))
    assert found.against_hand == pytest.approx(1.2)
    assert not found.same_as_hand


def test_equal_compiled_programs_are_recognised():
    a = np.ones((8, 8), np.float32)
    assert same_program(lambda x: x @ x + 1, lambda y: jnp.einsum("ij,jk->ik", y, y) + 1, [a])
    assert not same_program(lambda x: x @ x, lambda x: x @ x.T, [a])
    assert not same_program(lambda x: x @ x + 1, lambda x: x @ x + 2, [a])
    assert not same_program(lambda x: x, None, [a])


def test_summary_and_gaps():
    good = Row("s", "good", "A", (9e3, 1e3, 1e3), seconds=(2.0, 1.0, 1.0), against_jit=0.5, slowness=1.0, improved=True)
    short = Row("s", "short", "B", (9e3, 9e3, 1e3), seconds=(1.0, 1.2, 1.0), against_jit=1.2, slowness=1.2)
    failed = Row("s", "broken", "B", outcome="no such op", failed=True)
    text = summary([good, short, failed])
    assert "1 of 2 within 1.05x of the hand form's FLOP," in text
    short.found = 1e3
    text = summary([good, short, failed])
    assert "1 of 2 within 1.05x of the hand form's FLOP (2 with what was found and is no faster by the clock)," in text
    assert "1 of 2 within 1.1x of its time" in text
    assert "slower than jit: short" in text
    assert "failed: broken" in text
    text = gaps([good, short, failed])
    assert "s/short | 9 k | 9 k | 1 k | 9.0x" in text
    assert "s/good" not in text
    assert "no such op" in text


class TestCommand:
    def test_runs_and_writes(self, capsys, tmp_path):
        path, page = tmp_path / "out.jsonl", tmp_path / "out.md"
        arguments = ["laab/matchain_rtol", "--flops", "--small", "--json", str(path), "--table", str(page)]
        assert main(["bench", *arguments]) == 0
        out = capsys.readouterr().out
        assert "| laab | matchain_rtol | A |" in out
        assert "of the hand form's FLOP" in out
        assert page.read_text() == out
        (row,) = map(json.loads, path.read_text().splitlines())
        assert row["name"] == "matchain_rtol"
        assert row["excess"] <= 1.05

    def test_gaps(self, capsys):
        assert main(["bench", "laab/mm_sgemm", "laab/matchain_rtol", "--gaps", "--small"]) == 0
        out = capsys.readouterr().out
        assert "| A | order of products | 2 | 0 |" in out

    def test_list(self, capsys):
        assert main(["bench", "--list", "laab"]) == 0
        assert "cm_partial_op_prod" in capsys.readouterr().out

    @pytest.mark.parametrize(
        ("arguments", "said"),
        [
            (["labb"], "nearest: laab"),
            (["laab", "--against", "torch"], "want some of jit, hand, greedy"),
            (["laab", "--budget", "soon"], "want seconds"),
            (["laab", "--json", "no/such/folder.json"], "does not exist"),
        ],
    )
    def test_refusals(self, capfd, arguments, said):
        assert main(["bench", *arguments]) == 2
        out, err = capfd.readouterr()
        assert out == ""
        assert err.count("\n") == 1
        assert said in err


def test_errors_become_rows():
    case = suite("laab")[0]

    def broken(small):
        from egraph_opt.errors import ShapeError

        raise ShapeError("shapes do not fit")

    row = run_case(Selected("laab", type(case)("broken", "A", broken)), BenchOptions(flops=True))
    assert row.failed
    assert "do not fit" in row.outcome
