"""Operating: live updates, erasure, and what is done to collections beside a run."""
