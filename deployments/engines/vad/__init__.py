"""Models that detect speech."""
