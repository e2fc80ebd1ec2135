"""The pure parts of retrieval: fusing rankings, leaving out duplicates, and measuring how good a ranking is."""
