"""Common parts of the benches."""
