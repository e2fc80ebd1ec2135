"""`voxray ingest` and `voxray erase`: indexes business data and erases personal data."""
