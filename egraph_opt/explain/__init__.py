# SPDX-License-Identifier: Apache-2.0
"""What was done to a program and why, and why something was not done.

``explanation.explain`` and ``why_not.why_not`` are the ways in; ``checker`` stands alone, so nothing is imported here.
"""
