"""The data of post-training: preference pairs, mixing, selection, an archive of good responses."""
