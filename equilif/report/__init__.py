"""A run as one page that explains itself: what was learnt, where it fails, and how to repeat it."""
