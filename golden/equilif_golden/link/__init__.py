"""Communication with an engine: frames, registers, and models of the device."""
