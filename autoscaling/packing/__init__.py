"""Decides which replicas share a device, exactly for small problems and within a proven gap for big ones."""
