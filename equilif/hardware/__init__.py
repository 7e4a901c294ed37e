"""RTL and golden model compared; boards and resources."""
