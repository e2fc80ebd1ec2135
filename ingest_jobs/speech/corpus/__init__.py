"""A synthetic speech corpus of a company's domain: texts, voices, rooms, noises and telephone lines."""
