"""What is said to an engine: frames, registers, and models of what answers."""
