"""Entry points that run in their own processes (`python -m`)."""
