"""What depends on the language of a call; one folder a language."""
