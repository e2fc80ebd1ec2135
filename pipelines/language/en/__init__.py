"""Everything that is specific to English, one file per subject. Nothing here is specific to a trade or a company."""
