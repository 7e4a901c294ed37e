# What amaranth-stubs lacks is in this folder; mypy takes every other module from there.
from amaranth.hdl import *  # noqa: F403  as Amaranth does
