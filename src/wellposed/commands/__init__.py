"""What the command line can be asked to do: a module for each subject."""
