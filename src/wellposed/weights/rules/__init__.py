"""The rules on the weights, one to a module: its words, its thresholds and its judgement."""
