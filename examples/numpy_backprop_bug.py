"""The network of numpy_backprop.py with two bugs: b1's gradient is 4 times too large, W2's lacks the L2 term.

wellposed check examples/numpy_backprop_bug.py
"""

from numpy_backprop import L2, params, value
from numpy_backprop import gradient as right

import wellposed as wp


def gradient(p):
    wrong = right(p)
    wrong["b1"] = 4 * wrong["b1"]
    wrong["W2"] = wrong["W2"] - L2 * p["W2"]
    return wrong


problem = wp.FunctionProblem(value, gradient, params)
