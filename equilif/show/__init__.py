"""Tables, progress bars and pictures."""

from equilif_golden.extras import needs

with needs("cli"):
    import rich as rich
