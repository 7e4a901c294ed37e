"""Benches of equilif_hdl.link."""
