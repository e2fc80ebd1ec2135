"""Answering one question from the tenant's data: find a passage, let the model say it, and let nothing untrue out."""
