"""Analysis of trained networks."""
