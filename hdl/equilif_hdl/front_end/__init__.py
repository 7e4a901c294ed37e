"""Front end of a sensor: a microphone or an ADC, its features, and the samples that the engine gets."""
