# SPDX-License-Identifier: Apache-2.0
"""Benchmarks: programs to optimise, and scripts that measure; nothing in the package imports them."""
