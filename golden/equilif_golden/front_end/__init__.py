"""Front end: from a microphone or a sensor to samples of the engine, bit for bit as in gateware."""
