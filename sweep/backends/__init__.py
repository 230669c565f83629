"""Where trials run: the registry of backends, and the one without Ray."""
