"""A training step recorded once as a CUDA graph: hundreds of small kernels, started by one call."""

from collections.abc import Callable

import torch

EAGER = 3  # calls before the recording: libraries choose their kernels, optimizers make their state


class Recorded:
    """Calls `update`, the first times as it is, later as one graph of all its kernels.

    On small tables a step is some hundred kernels of a few microseconds, and starting each from Python takes longer than
    it runs. `update` must take the same shapes every time, read what changes from tensors that stay in place, never wait
    for the device, and draw random numbers from `random` alone.
    """

    def __init__(self, update: Callable[[], None], random: torch.Generator) -> None:
        self._update, self._random = update, random
        self._stream = torch.cuda.Stream()  # type: ignore[no-untyped-call]
        self._graph: torch.cuda.CUDAGraph | None = None
        self._calls = 0

    def __call__(self) -> None:
        if self._graph is None and self._calls == EAGER:
            self._graph = self._record()
        if self._graph is not None:
            self._graph.replay()
            return
        self._calls += 1
        # beside the stream of all else, as the recording will be: gradients remember theirs
        self._stream.wait_stream(torch.cuda.current_stream())
        with torch.cuda.stream(self._stream):
            self._update()
        torch.cuda.current_stream().wait_stream(self._stream)

    def _record(self) -> torch.cuda.CUDAGraph:
        graph = torch.cuda.CUDAGraph()
        graph.register_generator_state(self._random)
        torch.clear_autocast_cache()  # a weight converted before would be read at its old value for ever
        with torch.cuda.graph(graph, stream=self._stream):
            self._update()
        torch.clear_autocast_cache()
        return graph
