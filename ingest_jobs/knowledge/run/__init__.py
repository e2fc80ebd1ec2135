"""Running: full and incremental runs, their pipeline, the quality gate, and the way back."""
