"""Arithmetic of one lane: each file is the RTL of the file of the same name in equilif_golden.blocks."""
