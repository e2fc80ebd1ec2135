"""Everything that depends on the language of a call, with one folder per language."""
