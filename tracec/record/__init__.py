"""A Python run as a graph: tensors that compute at once, remember what gradients need, and can be recorded."""

from tracec.record.create import of_array, of_numbers
from tracec.record.method import tensor_method
from tracec.record.recorder import Recorder, trace
from tracec.record.recording import Recording
from tracec.record.tensor import Size, Tensor

__all__ = ["Recorder", "Recording", "Size", "Tensor", "of_array", "of_numbers", "tensor_method", "trace"]
