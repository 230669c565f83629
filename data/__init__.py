"""The data of trials: labelled headlines, their sources, and the draws of rows."""
