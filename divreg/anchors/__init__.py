"""Annotation anchoring: say what a text is about before the text, and keep that as diverse as it was."""
