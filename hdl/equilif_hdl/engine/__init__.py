"""The engine, from its instruction memory to its lanes."""
