"""Piper voices, streamed."""
