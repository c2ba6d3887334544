# SPDX-License-Identifier: Apache-2.0
"""Rules as a product: checked, listed, made from functions, suggested."""
