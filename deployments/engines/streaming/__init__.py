"""Many callers on one streaming recogniser: schedule, ticks, and the thread that owns the model."""
