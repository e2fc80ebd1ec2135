"""Personal data in texts: what is looked for, and what stands in its place."""
