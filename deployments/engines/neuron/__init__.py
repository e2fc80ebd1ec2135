"""vLLM on AWS Inferentia, and its compiled engines."""
