"""`voxray ingest` and `voxray erase`: business data in, and a person's data out."""
