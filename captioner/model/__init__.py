"""The network: encoders, attention, the decoder, and the runtimes that they run on."""
