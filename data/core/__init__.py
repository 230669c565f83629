"""Foundations of every package: errors, settings, seeds, files behind any URI."""
