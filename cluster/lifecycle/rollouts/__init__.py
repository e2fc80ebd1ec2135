"""Applies a configuration to a running cluster, watches the roll-out, and takes it back."""
