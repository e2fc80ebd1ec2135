"""A chat model on vLLM."""
