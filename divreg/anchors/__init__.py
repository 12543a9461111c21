"""Annotation anchoring: say what a text is about before it, and keep that as diverse as it was."""
