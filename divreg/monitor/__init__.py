"""Watch a run: what one rollout shows, when it has become a collapse, and what to do about it."""
