"""The speed of everything, measured in one run and told as ratios: ``equilif bench``."""
