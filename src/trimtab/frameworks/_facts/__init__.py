"""Facts of NumPy arrays: what the PyTorch adapter reads with torch at sampled steps, for the frameworks that hand out
their values.

Every function is pure and answers with columns of `trimtab.vitals`; a fact that is not there to be had is absent. The
definitions are those of the readers in `frameworks/torch`, and tests/frameworks/test_facts.py holds both to the same
numbers. Where float32 overflows or vanishes there (entries of 1e30, of 1e-30), the numbers here are still right.
"""

from __future__ import annotations

from ._activations import gradient_facts as gradient_facts
from ._activations import input_facts as input_facts
from ._activations import output_facts as output_facts
from ._activations import scale as scale
from ._arrays import as_floats as as_floats
from ._arrays import norm as norm
from ._losses import Targets as Targets
from ._losses import labels_beyond as labels_beyond
from ._losses import loss_facts as loss_facts
from ._tensors import before_step as before_step
from ._tensors import g2_over_v as g2_over_v
from ._tensors import step_facts as step_facts
from ._tensors import twin_units as twin_units
