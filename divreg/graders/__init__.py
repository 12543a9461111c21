"""Who grades an answer: a program is run with its tests, in a sandbox."""
