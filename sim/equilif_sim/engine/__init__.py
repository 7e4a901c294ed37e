"""Benches of equilif_hdl.engine."""
