"""Verifiable tasks whose correct answers can be counted, and the tiny model of the demo."""
