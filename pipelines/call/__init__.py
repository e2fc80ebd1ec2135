"""One call as it runs: the session core driven, traced, and saved."""
