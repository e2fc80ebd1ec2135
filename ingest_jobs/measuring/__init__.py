"""Measuring what callers get: the searches and the answers."""
