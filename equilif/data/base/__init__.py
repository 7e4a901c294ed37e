"""Arrays, words and files as they are read."""
