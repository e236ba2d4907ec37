"""Remedies: each is tried on a copy of the problem, and measured again."""
