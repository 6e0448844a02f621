"""Learning from a log of one answer per query: an arm is learned from the rounds in which it was drawn."""
