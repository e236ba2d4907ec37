"""The rules on the signals, one to a module: its words, its thresholds and its judgement."""
