"""A board at the other end of a line, or a simulated one."""
