"""Note 1: the inputs, centred and scaled with the training set's numbers."""
