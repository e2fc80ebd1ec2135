"""Storing: the shapes of rows, and what jobs keep in the object store."""
