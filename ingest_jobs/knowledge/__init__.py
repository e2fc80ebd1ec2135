"""Restartable Ray Data jobs that turn business data into collections."""
