"""The objective: does the loss fit the outputs, the learning rate the curvature, and does the loss depend on what it
should?
"""
