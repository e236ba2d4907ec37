"""What a framework must offer (`protocol`), and the three that do. torch and jax are imported by their adapters
alone.
"""
