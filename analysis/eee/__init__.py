"""Results as records of Every Eval Ever: a file for each cell, a line for each test row."""
