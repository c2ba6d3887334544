# SPDX-License-Identifier: Apache-2.0
"""The families of operators; importing this module fills the table `operator.OPERATORS`."""

from egraph_opt.frontends.onnx import control as control
from egraph_opt.frontends.onnx import conv as conv
from egraph_opt.frontends.onnx import elementwise as elementwise
from egraph_opt.frontends.onnx import layout as layout
from egraph_opt.frontends.onnx import linear as linear
from egraph_opt.frontends.onnx import normalization as normalization
from egraph_opt.frontends.onnx import pooling as pooling
from egraph_opt.frontends.onnx import quantization as quantization
from egraph_opt.frontends.onnx import recurrent as recurrent
from egraph_opt.frontends.onnx import reduction as reduction
