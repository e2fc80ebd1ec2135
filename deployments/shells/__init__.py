"""Thin Ray Serve shells: translate, await, translate; and what they say of their load."""
