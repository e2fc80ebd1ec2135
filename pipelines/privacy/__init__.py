"""Detects personal data in texts and replaces it."""
