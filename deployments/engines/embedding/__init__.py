"""Sentence vectors and the judgement of passages: BERT encoders, a cross-encoder, and a cache."""
