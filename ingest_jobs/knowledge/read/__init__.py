"""Reads business data: the dataset's description, its sources and formats, and documents cut into passages."""
