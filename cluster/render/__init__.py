"""Renders the configuration tree into the files that other systems read."""
