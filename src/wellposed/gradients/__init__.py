"""Note 5: the gradient held against differences of the loss, and where it is wrong."""
