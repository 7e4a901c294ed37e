"""Links from a serial line or a bus to the engine's host port."""
