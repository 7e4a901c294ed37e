"""Files of a run and of a trained network."""
