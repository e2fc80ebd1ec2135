"""Models that judge whether the caller has finished."""
