"""The Reuters news archive (MRN) as a source."""
