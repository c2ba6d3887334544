# SPDX-License-Identifier: Apache-2.0
"""The families of operators; importing this module fills the table `operator.OPERATORS`."""

from egraph_opt.frontends.onnx import activations as activations
from egraph_opt.frontends.onnx import attention as attention
from egraph_opt.frontends.onnx import bits as bits
from egraph_opt.frontends.onnx import casts as casts
from egraph_opt.frontends.onnx import contrib as contrib
from egraph_opt.frontends.onnx import contrib_attention as contrib_attention
from egraph_opt.frontends.onnx import contrib_images as contrib_images
from egraph_opt.frontends.onnx import contrib_qlinear as contrib_qlinear
from egraph_opt.frontends.onnx import contrib_quantized as contrib_quantized
from egraph_opt.frontends.onnx import contrib_query as contrib_query
from egraph_opt.frontends.onnx import control as control
from egraph_opt.frontends.onnx import conv as conv
from egraph_opt.frontends.onnx import detection as detection
from egraph_opt.frontends.onnx import elementwise as elementwise
from egraph_opt.frontends.onnx import features as features
from egraph_opt.frontends.onnx import filling as filling
from egraph_opt.frontends.onnx import grids as grids
from egraph_opt.frontends.onnx import indexing as indexing
from egraph_opt.frontends.onnx import layout as layout
from egraph_opt.frontends.onnx import linear as linear
from egraph_opt.frontends.onnx import loss as loss
from egraph_opt.frontends.onnx import normalization as normalization
from egraph_opt.frontends.onnx import pooling as pooling
from egraph_opt.frontends.onnx import quantization as quantization
from egraph_opt.frontends.onnx import recurrent as recurrent
from egraph_opt.frontends.onnx import reduction as reduction
from egraph_opt.frontends.onnx import resize as resize
from egraph_opt.frontends.onnx import sampling as sampling
from egraph_opt.frontends.onnx import selection as selection
from egraph_opt.frontends.onnx import sequences as sequences
from egraph_opt.frontends.onnx import signal as signal
from egraph_opt.frontends.onnx import slicing as slicing
from egraph_opt.frontends.onnx import strings as strings
from egraph_opt.frontends.onnx import training as training
from egraph_opt.frontends.onnx import trees as trees
