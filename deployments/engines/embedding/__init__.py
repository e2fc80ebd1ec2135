"""Sentence embeddings and relevance judgements: BERT encoders, a cross-encoder and a cache."""
