"""A network in OpenVINO: converted from a torch module, compiled for this CPU, and run on torch tensors."""

import threading
import warnings
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

import torch
from torch import Tensor, nn

from captioner.model.allocator import restore_allocator
from captioner.model.network_cache import ConvertedNetwork
from captioner.model.openvino_core import import_openvino, openvino_core

if TYPE_CHECKING:
    import openvino
    from openvino import Model

_converting = threading.Lock()
"""Held by the only thread that converts: tracing and OpenVINO change state of the process, such as the log's level."""


def convert(module: nn.Module, operands: Sequence[Tensor], shapes: Sequence[Sequence[int]]) -> "Model":
    """Convert a module to an OpenVINO network. shapes: shapes of its operands, -1 for any size."""
    openvino = import_openvino()
    with _converting, torch.no_grad(), warnings.catch_warnings():
        warnings.simplefilter("ignore")  # tracing is deprecated, but its replacement converts four times as slowly
        traced = torch.jit.trace(module, tuple(operands), check_trace=False)
        return openvino.convert_model(traced, input=list(shapes))


class CompiledNetwork:
    """OpenVINO network compiled for this CPU. Threads may share it."""

    def __init__(self, network: ConvertedNetwork, bfloat16: bool):
        settings = {
            "INFERENCE_NUM_THREADS": torch.get_num_threads(),
            "INFERENCE_PRECISION_HINT": "bf16" if bfloat16 else "f32",
        }
        self._network = network  # whose weights must outlive the compiled network
        self._compiled = openvino_core().compile_model(network.model, "CPU", settings)
        network.release()
        restore_allocator()  # OpenVINO returns freed memory to the kernel
        self._thread_local = threading.local()

    @property
    def result_shape(self) -> list[int]:
        """Shape of the first result of a network for operands of fixed shapes."""
        return list(self._compiled.outputs[0].shape)

    def __call__(self, *operands: Tensor) -> list[Tensor]:
        """Run the network on CPU tensors and return copies of its results."""
        # A decoder's step would take longer with torch's `clone`.
        return [torch.from_numpy(output.data.copy()) for output in self._run(operands).output_tensors]

    def write(self, result: Tensor, *operands: Tensor) -> None:
        """Write the network's only result into a contiguous float32 tensor, without a copy."""
        self._request().request.set_output_tensor(0, _share_memory(result))
        self._run(operands)

    def release_operands(self) -> None:
        """Refer to no operand of this thread's calls so far; the next call sets all of its operands."""
        if hasattr(self._thread_local, "request"):
            self._thread_local.request.operands.clear()

    def _request(self) -> "_Request":
        """Return this thread's request."""
        if not hasattr(self._thread_local, "request"):
            self._thread_local.request = _Request(self._compiled.create_infer_request())
        return self._thread_local.request

    def _run(self, operands: Sequence[Tensor]) -> "openvino.InferRequest":
        request = self._request()
        for index, operand in enumerate(operands):
            request.set(index, operand)
        # A decoder's step would take a quarter longer with `request.infer(operands)`.
        request.request.infer()
        return request.request


SMALL_BYTES = 2**16
"""Maximum size of an operand that is copied into memory of the request, which takes less time than sharing it."""


@dataclass(frozen=True)
class _Request:
    """Request of one thread. It is given an operand only if the call before had another, which takes time."""

    request: "openvino.InferRequest"
    operands: dict[int, tuple[Tensor, Tensor]] = field(default_factory=dict)
    """Each large operand and its contiguous form, kept alive because the request has only the address."""
    buffers: dict[int, Tensor] = field(default_factory=dict)
    """Memory of each small operand."""

    def set(self, index: int, operand: Tensor) -> None:
        if operand.nbytes <= SMALL_BYTES:
            buffer = self.buffers.get(index)
            if buffer is None or buffer.shape != operand.shape:
                self.operands.pop(index, None)
                with torch.inference_mode(False):  # a tensor of that mode could not be written outside of it
                    self.buffers[index] = buffer = torch.empty(operand.shape, dtype=operand.dtype)
                self.request.set_input_tensor(index, _share_memory(buffer))
            buffer.copy_(operand)
            return
        self.buffers.pop(index, None)
        known, _ = self.operands.get(index, (None, None))
        if operand is not known:
            self.operands[index] = operand, operand.contiguous()
            self.request.set_input_tensor(index, _share_memory(self.operands[index][1]))


def _share_memory(operand: Tensor) -> "openvino.Tensor":
    """Return an OpenVINO tensor that shares the tensor's memory."""
    openvino = import_openvino()
    if operand.dtype != torch.bfloat16:
        return openvino.Tensor(operand.numpy(), shared_memory=True)
    return openvino.Tensor(operand.view(torch.int16).numpy(), openvino.Shape(operand.shape), openvino.Type.bf16)
