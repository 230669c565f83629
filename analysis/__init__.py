"""Tables, tests, figures and pages, made from result folders alone."""
