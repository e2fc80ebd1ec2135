"""Reading: what a dataset describes, its sources and formats, and documents cut into passages."""
