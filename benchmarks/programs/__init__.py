"""Faulty training programs that people asked about in public, each with a twin in which only the fault is mended."""

from . import gradient_and_depth, inputs_and_weights, loss_and_output
from .program import PROGRAMS, Asked, Program, train

__all__ = ["PROGRAMS", "Asked", "Program", "gradient_and_depth", "inputs_and_weights", "loss_and_output", "train"]
