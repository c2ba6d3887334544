# SPDX-License-Identifier: Apache-2.0
"""Settings of all tests: hypothesis profiles, what is left for `make deep`, and skips for what a machine lacks.

64-bit types stay off, as they are for users; a test that needs them enters ``jax.enable_x64(True)`` itself.
``HYPOTHESIS_PROFILE=nightly`` (as ``make deep`` sets it) draws many fresh cases instead of a few fixed ones.
"""

import os

import hypothesis
import jax
import pytest

# Several workers may share one GPU: none of them takes its memory beforehand. JAX reads this at its first computation.
os.environ.setdefault("XLA_PYTHON_CLIENT_PREALLOCATE", "false")

# Programs run a few times only here, and most of the time went into machine code made better for nothing. What
# XLA does before that is as always. ``make deep`` gives XLA_FLAGS empty, so that code as users run it is tested, too.
_QUICK = "--xla_backend_optimization_level=0 --xla_llvm_disable_expensive_passes=true"
if jax.__version_info__ < (0, 11):  # XLA ends the process at a flag that it does not know
    _QUICK += " --xla_cpu_use_fusion_emitters=false"
os.environ.setdefault("XLA_FLAGS", _QUICK)

hypothesis.settings.register_profile("ci", max_examples=25, deadline=None, derandomize=True, print_blob=True)
hypothesis.settings.register_profile("nightly", max_examples=2000, deadline=None, print_blob=True)
hypothesis.settings.load_profile(os.environ.get("HYPOTHESIS_PROFILE", "ci"))

FEW = 5
"""Cases that are left at least of a test whose cases are alike."""


def has_gpu() -> bool:
    """Whether JAX sees a CUDA device."""
    try:
        return bool(jax.devices("gpu"))
    except RuntimeError:
        return False


def leave_for_deep(items: list[pytest.Item]) -> None:
    """Mark as slow two of three cases of each test that is marked ``alike``, as long as ``FEW`` are left."""
    cases: dict[str, list[pytest.Item]] = {}
    for item in items:
        if "alike" in item.keywords and "slow" not in item.keywords:
            cases.setdefault(item.nodeid.partition("[")[0], []).append(item)
    for those in cases.values():
        step = max(1, min(3, len(those) // FEW))
        for i, item in enumerate(those):
            if i % step:
                item.add_marker(pytest.mark.slow)


@pytest.hookimpl(tryfirst=True)  # before pytest applies ``-m "not slow"``
def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    leave_for_deep(items)
    if any("gpu" in item.keywords for item in items) and not has_gpu():
        for item in items:
            if "gpu" in item.keywords:
                item.add_marker(pytest.mark.skip(reason="no CUDA device"))
