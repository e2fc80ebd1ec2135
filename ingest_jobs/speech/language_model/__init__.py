"""The recogniser's language model, which learns from texts which word pieces follow which."""
