"""Stores of data that outlives a process."""
