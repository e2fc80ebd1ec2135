"""Typed configuration: one frozen tree, profiles as files, environment read in one place."""
