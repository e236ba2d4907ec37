"""Note 2: the size of the signal on its way through the network, and of the gradient on its way back."""
