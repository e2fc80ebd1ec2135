"""The pure parts of retrieval: fusing rankings, dropping duplicates, and measuring the quality of a ranking."""
