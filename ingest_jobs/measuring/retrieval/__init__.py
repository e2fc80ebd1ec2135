"""Measuring retrieval: a set of documents and questions, and how well and how fast they are found."""
