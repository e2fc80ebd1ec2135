"""`voxray plan`, `profile`, `simulate` and `compare`: how much hardware a number of calls needs."""
