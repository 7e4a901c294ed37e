"""Sound: features, words in a recording, known words."""
