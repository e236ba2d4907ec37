"""Pure NumPy and SciPy: what the subjects compute with."""
