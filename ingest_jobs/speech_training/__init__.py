"""Trains the small streaming recogniser on a corpus of `ingest_jobs.speech_corpus`, within hours on two CPU cores."""
