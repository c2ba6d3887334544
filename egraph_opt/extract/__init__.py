# SPDX-License-Identifier: Apache-2.0
"""Choosing the cheapest program out of an e-graph: plain tables in, one node per class out.

``extract`` is what the pipeline calls; ``EXTRACTORS`` lists it and every single algorithm by name.
Knows neither egglog nor JAX.
"""

from egraph_opt.extract.choice import Extraction as Extraction
from egraph_opt.extract.choice import evaluate as evaluate
from egraph_opt.extract.choice import selected as selected
from egraph_opt.extract.extractors import EXTRACTORS as EXTRACTORS
from egraph_opt.extract.extractors import Extractor as Extractor
from egraph_opt.extract.portfolio import extract as extract
from egraph_opt.extract.table import Node as Node
from egraph_opt.extract.table import Table as Table
from egraph_opt.extract.table import load_table as load_table
