"""Answers one question from the tenant's data: finds a passage, lets the model phrase it, blocks unsupported claims."""
