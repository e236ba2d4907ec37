"""Note 3: initial weights, by the activation that follows each layer."""
