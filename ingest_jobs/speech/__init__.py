"""Speech recognition of one's own: a synthetic corpus, training, a language model, and evaluation."""
