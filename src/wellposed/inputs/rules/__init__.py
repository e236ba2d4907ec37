"""The rules on the inputs, one to a module: its words, its thresholds and its judgement."""
