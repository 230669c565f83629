"""Runs inside LIT's environment; imports the standard library and what comes with lit_nlp alone."""
