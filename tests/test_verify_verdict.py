# SPDX-License-Identifier: Apache-2.0
"""The arithmetic of the error gate, on arrays."""

import numpy as np
import pytest

from egraph_opt.verify.verdict import COARSEST, FACTOR, combine, judge

REFERENCE = np.array([1.0, -2.0, 0.001])


def f32(*values: float) -> np.ndarray:
    return np.array(values, np.float32)


def test_errors_are_scaled_by_the_output() -> None:
    verdict = judge(REFERENCE, f32(1.0, -2.0, 0.001), f32(1.0, -2.0, 0.001 + 2e-6))
    assert verdict.ok
    assert verdict.error_candidate == pytest.approx(1e-6, rel=0.01)


def test_a_multiple_of_the_own_error_is_admitted() -> None:
    own = f32(1.001, -2.0, 0.001)
    assert judge(REFERENCE, own, f32(1.0, -2.0 + 0.0035, 0.001)).ok
    worse = judge(REFERENCE, own, f32(1.0, -2.0 + 0.0045, 0.001))
    assert not worse.ok
    assert worse.tolerance == pytest.approx(FACTOR * worse.error_original)


def test_coarse_types_have_a_bound() -> None:
    import ml_dtypes

    own = REFERENCE.astype(ml_dtypes.bfloat16)
    off = (REFERENCE * (1 + 3 * COARSEST)).astype(ml_dtypes.bfloat16)
    assert not judge(own.astype(float), own, off).ok


def test_pure_cancellation_is_noise() -> None:
    zero = np.zeros(3)
    residue = f32(1e-7, 0, -1e-7)
    assert not judge(zero, f32(0, 0, 0), residue).ok
    assert judge(zero, f32(0, 0, 0), residue, noise=1e-7).ok
    assert not judge(zero, f32(0, 0, 0), residue * 100, noise=1e-7).ok


@pytest.mark.parametrize(
    ("original", "candidate", "ok"),
    [
        ((np.inf, 1.0), (np.inf, 1.0), True),
        ((np.nan, 1.0), (np.nan, 1.0), True),
        ((np.inf, 1.0), (-np.inf, 1.0), False),
        ((np.inf, 1.0), (np.nan, 1.0), False),
        ((np.inf, 1.0), (3.0, 1.0), False),
        ((3.0, 1.0), (np.inf, 1.0), False),
        ((3.0, 1.0), (np.nan, 1.0), False),
    ],
)
def test_patterns_of_infinities(original: tuple[float, ...], candidate: tuple[float, ...], ok: bool) -> None:
    reference = np.array(original, np.float64)
    assert judge(reference, f32(*original), f32(*candidate)).ok == ok


def test_an_overflow_that_the_candidate_avoids_is_admitted() -> None:
    reference = np.array([1e3, 1.0])
    assert judge(reference, f32(np.inf, 1.0), f32(1e3, 1.0)).ok


def test_empty_outputs() -> None:
    verdict = judge(np.zeros((0, 3)), np.zeros((0, 3), np.float32), np.zeros((0, 3), np.float32))
    assert verdict.ok
    assert not verdict.vacuous


def test_no_outputs() -> None:
    assert combine([[]], "float64").ok


def test_the_worst_of_all_inputs_counts() -> None:
    good = judge(REFERENCE, REFERENCE.astype(np.float32), REFERENCE.astype(np.float32))
    bad = judge(REFERENCE, REFERENCE.astype(np.float32), 2 * REFERENCE.astype(np.float32))
    verdict = combine([[good, good], [good, bad], [good, good]], "float64")
    assert not verdict.ok
    assert verdict.reason.startswith("output 1: error 1 exceeds")
    assert [v.ok for v in verdict.outputs] == [True, False]
    assert verdict.error_candidate == pytest.approx(1.0)
