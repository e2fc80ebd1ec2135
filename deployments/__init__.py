"""Thin Ray Serve shells, and the engine adapters that they wrap."""
