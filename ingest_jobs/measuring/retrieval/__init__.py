"""Measures how well and how fast retrieval finds the documents for a set of questions."""
