# SPDX-License-Identifier: Apache-2.0
"""Benchmarks: ``egraph-opt bench`` runs suites of programs beside ``jax.jit`` and forms written by hand."""
