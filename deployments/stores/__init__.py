"""Stores that hold what outlives a process."""
