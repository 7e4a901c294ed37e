"""Data sets: the type, and the loaders of those with a name."""
