"""One file a source of headlines."""
