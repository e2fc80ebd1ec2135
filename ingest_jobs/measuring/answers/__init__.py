"""Measures answers by engines in this process, without a cluster."""
