"""What a problem's structure is, measured on arrays: sequences, what is asked for and what is seen, padding, order."""
