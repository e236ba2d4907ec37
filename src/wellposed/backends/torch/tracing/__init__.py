"""One pass through a torch model with every operation seen."""
