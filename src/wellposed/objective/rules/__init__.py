"""The rules on the objective, one to a module: its words, its thresholds and its judgement."""
