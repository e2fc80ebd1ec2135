"""`voxray plan`, `profile`, `simulate` and `compare`: determine how much hardware a number of calls needs."""
