"""Amaranth RTL.  One block a file, named as in golden/; engine.py only wires them."""
