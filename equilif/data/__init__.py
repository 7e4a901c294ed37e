"""Data sets: images, sequences of tokens, word vectors."""
