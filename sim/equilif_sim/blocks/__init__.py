"""Benches of equilif_hdl.blocks."""
