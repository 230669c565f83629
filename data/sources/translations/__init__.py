"""Translations of rows: from columns and files, and those that a model makes."""
