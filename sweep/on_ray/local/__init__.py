"""The Ray that a command starts on its own machine."""
