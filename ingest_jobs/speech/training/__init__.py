"""Trains the small streaming recogniser on a corpus of `ingest_jobs.speech.corpus`, within hours on two CPU cores."""
