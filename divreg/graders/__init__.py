"""Graders: whether a text answers a question, and which answer it is."""
