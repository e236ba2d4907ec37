"""The rules on gradients, one to a module: its words, its thresholds and its judgement."""
