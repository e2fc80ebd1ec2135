"""Answers of the engines in this process, without a cluster."""
