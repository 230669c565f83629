"""Foundations of every package: errors, findings, settings, seeds, files at any URI."""
