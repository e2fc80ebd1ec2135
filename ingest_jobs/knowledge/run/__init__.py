"""Runs of the ingest job: full and incremental runs, their pipeline, the quality gate, and rollback."""
