"""Typed configuration: one frozen tree, with profiles as files, and an environment that is read in one place."""
