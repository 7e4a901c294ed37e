"""Amaranth RTL.  One block a file, named as in golden/; engine.py only wires them."""

from equilif_golden.extras import needs

with needs("hdl"):
    import amaranth as amaranth
