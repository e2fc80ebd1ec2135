"""Jobs that run beside the calls: they index business data, build speech models, and measure answers and searches."""
