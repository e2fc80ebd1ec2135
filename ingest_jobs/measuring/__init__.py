"""Measures the searches and answers that callers get."""
