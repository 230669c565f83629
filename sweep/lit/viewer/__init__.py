"""The viewer in LIT's environment. It imports only the standard library and lit_nlp's packages."""
