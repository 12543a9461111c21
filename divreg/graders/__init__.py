"""Who grades an answer: mathematics by value, instructions by rules, programs in a sandbox."""
