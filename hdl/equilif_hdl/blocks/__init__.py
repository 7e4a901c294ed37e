"""Arithmetic of one lane; each file is the RTL of equilif_golden.blocks' file of the same name."""
