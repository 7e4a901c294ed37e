"""The same networks in real numbers; torch is confined to these modules."""

from equilif_golden.extras import needs

with needs("torch"):
    import torch as torch
