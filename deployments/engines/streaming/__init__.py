"""Serves many callers with one streaming recogniser: the schedule, the ticks, and the thread that owns the model."""
