"""Answers that rest on a passage: the evidence, the prompt, and the guard over what a model says."""
