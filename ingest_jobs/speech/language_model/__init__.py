"""The language model of the recogniser: which word pieces follow which, learned from what callers may say."""
