"""The numbers of a neuron and of a synapse, one block a file."""
