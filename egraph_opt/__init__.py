# SPDX-License-Identifier: Apache-2.0
"""egraph_opt finds a cheaper equal program for a JAX function or an exported model, and says what it did."""
