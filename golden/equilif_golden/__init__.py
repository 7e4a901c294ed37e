"""Bit-accurate golden model of equilif: NumPy and Numba only, no HDL tool needed.

Every module here defines the bits of the module of the same name in ``hdl/``.
"""
