# SPDX-License-Identifier: Apache-2.0
"""The operations: one record each, in files by family, registered by importing this package."""

from egraph_opt.ops import assembly as _assembly  # noqa: F401
from egraph_opt.ops import bands as _bands  # noqa: F401
from egraph_opt.ops import choice as _choice  # noqa: F401
from egraph_opt.ops import contraction as _contraction  # noqa: F401
from egraph_opt.ops import control as _control  # noqa: F401
from egraph_opt.ops import declared as _declared  # noqa: F401
from egraph_opt.ops import einsum as _einsum  # noqa: F401
from egraph_opt.ops import elementwise as _elementwise  # noqa: F401
from egraph_opt.ops import indexing as _indexing  # noqa: F401
from egraph_opt.ops import kernel as _kernel  # noqa: F401
from egraph_opt.ops import layout as _layout  # noqa: F401
from egraph_opt.ops import leaves as _leaves  # noqa: F401
from egraph_opt.ops import linalg as _linalg  # noqa: F401
from egraph_opt.ops import params as _params  # noqa: F401
from egraph_opt.ops import reads as _reads  # noqa: F401
from egraph_opt.ops import reduction as _reduction  # noqa: F401
from egraph_opt.ops import shifted as _shifted  # noqa: F401
from egraph_opt.ops import solves as _solves  # noqa: F401
from egraph_opt.ops import structured as _structured  # noqa: F401
from egraph_opt.ops.op import Example as Example
from egraph_opt.ops.op import Op as Op
from egraph_opt.ops.op import Trait as Trait
from egraph_opt.ops.op import all_ops as all_ops
from egraph_opt.ops.op import define as define
from egraph_opt.ops.op import get_op as get_op
from egraph_opt.ops.op import op_of_primitive as op_of_primitive
