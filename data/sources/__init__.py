"""The sources of labelled headlines, one file or folder each."""
