"""Entry points that run in processes of their own (`python -m`)."""
