"""Tables, progress bars and pictures."""
