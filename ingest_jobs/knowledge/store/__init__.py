"""Storage of the jobs: the shapes of rows, and what is kept in the object store."""
