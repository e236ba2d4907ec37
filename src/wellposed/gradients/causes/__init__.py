"""The named causes of a wrong gradient. Each takes a suspect and returns an explanation that all measurements bear out,
or None.
"""
