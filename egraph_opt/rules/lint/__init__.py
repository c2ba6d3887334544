# SPDX-License-Identifier: Apache-2.0
"""Faults of rule files, all at once, each with the nearest right name."""

from egraph_opt.rules.lint.run import lint as lint
