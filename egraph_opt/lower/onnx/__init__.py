# SPDX-License-Identifier: Apache-2.0
"""A Graph as an ONNX model: one writer per operation, in files by family, and one table of them all.

Only this folder and the ONNX frontend need the package onnx. What has no spelling in ONNX is refused with one line.
"""

from egraph_opt.lower.onnx.model import graph_to_onnx as graph_to_onnx
from egraph_opt.lower.onnx.table import WRITERS as WRITERS
