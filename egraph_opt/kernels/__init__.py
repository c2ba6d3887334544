# SPDX-License-Identifier: Apache-2.0
"""Kernels: idioms that are recognised by what they compute, and code of their own that may run them."""

from egraph_opt.kernels import shipped as _shipped  # noqa: F401
from egraph_opt.kernels.found import Found as Found
from egraph_opt.kernels.found import beside as beside
from egraph_opt.kernels.found import replaced as replaced
from egraph_opt.kernels.recognise import recognise as recognise
from egraph_opt.kernels.record import Kernel as Kernel
from egraph_opt.kernels.record import all_kernels as all_kernels
from egraph_opt.kernels.register import register_kernel as register_kernel
from egraph_opt.kernels.register import unregister_kernel as unregister_kernel
from egraph_opt.kernels.told import has_kernels as has_kernels
from egraph_opt.kernels.told import told as told
from egraph_opt.kernels.use import IDIOM as IDIOM
from egraph_opt.kernels.use import LAWS as LAWS
from egraph_opt.kernels.use import counted as counted
from egraph_opt.kernels.use import with_idioms as with_idioms
from egraph_opt.kernels.use import with_kernels as with_kernels
