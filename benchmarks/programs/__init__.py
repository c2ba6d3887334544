# SPDX-License-Identifier: Apache-2.0
"""Programs to optimise. Each module has a table ``PROGRAMS``; a program is built when it is asked for."""
