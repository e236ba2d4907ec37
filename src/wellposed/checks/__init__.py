"""Checks: what a problem is asked, in which order, and what is measured once for all subjects."""
