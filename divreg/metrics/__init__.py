"""One file per reported number: texts, answers or counts in, a float out. Needs numpy only."""
