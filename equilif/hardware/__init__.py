"""RTL beside the golden model, boards and what they cost."""
