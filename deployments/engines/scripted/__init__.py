"""Engines without a model, one for each port: for tests, load tests and demonstrations."""
