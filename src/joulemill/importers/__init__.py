"""Results of other tools as records of a run: what they saw, what they state, and what they cannot know."""
