from amaranth_types.types import *  # noqa: F403  as amaranth_types does
