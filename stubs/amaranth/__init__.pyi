from amaranth.hdl import *
