# SPDX-License-Identifier: Apache-2.0
"""Rediscovery of laws: enumerate small terms, keep equal pairs, report what the rules in force do not derive."""

from egraph_opt.rules.suggest.run import suggest as suggest
