"""Backends of a run: what learns."""
