"""Description of a network and how it learns."""
