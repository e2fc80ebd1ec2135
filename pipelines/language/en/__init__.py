"""All that is English, one file a subject; nothing here is about a trade or a company."""
