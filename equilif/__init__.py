"""Equilibrium Propagation in spiking networks: what users call."""
