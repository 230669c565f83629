"""Result folders: written, read and verified without torch."""
