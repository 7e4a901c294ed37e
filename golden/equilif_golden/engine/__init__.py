"""The engine: instruction set, compiler, and a model that carries programs out."""
