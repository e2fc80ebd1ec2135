"""Pieces of text: clauses to speak, grounding checks."""
