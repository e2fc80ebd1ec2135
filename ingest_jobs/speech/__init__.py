"""Builds our own speech recogniser: a synthetic corpus, training, a language model, and evaluation."""
