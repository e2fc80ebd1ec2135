"""Jobs beside the calls: business data to collections, speech models, and what measures answers and searches."""
