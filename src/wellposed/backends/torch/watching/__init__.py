"""A training script as it runs: what led to its loss, and what its steps do."""
