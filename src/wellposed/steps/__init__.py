"""The training step as it runs: gradients, optimizers, clipping, schedules, the data of successive steps."""
