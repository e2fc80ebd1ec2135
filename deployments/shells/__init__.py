"""Thin Ray Serve shells, which translate, await and translate back, and report their load."""
