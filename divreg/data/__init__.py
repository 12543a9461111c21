"""The data of post-training: preference pairs, mixing, selection, and an archive of good samples."""
