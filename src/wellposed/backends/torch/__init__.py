"""PyTorch: imported only when the caller's own objects are torch's."""

from wellposed.backends.torch.problem import TorchProblem

__all__ = ["TorchProblem"]
