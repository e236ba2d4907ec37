"""Programs with a gradient bug, each modelled on one that really happened, and their healthy twins."""
