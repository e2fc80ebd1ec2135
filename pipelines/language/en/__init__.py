"""English: numbers, terms, questions and clauses."""
