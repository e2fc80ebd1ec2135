"""Putting a configuration into force on a running cluster, watching it, and taking it back."""
