"""Benches of the front end."""
