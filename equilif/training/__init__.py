"""Training, and what is asked of a trained network."""
