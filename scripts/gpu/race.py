"""Candidates timed in turn on a GPU at the clocks that they cause themselves, and the energy that they use."""

import ctypes
import random

import torch

from timing import captured

MEASURED_MS, WARM_TIMES = 20, 3
random.seed(0)


class Race:
    """Candidates captured as graphs and timed in turn, round after round, so that all meet the same clocks."""

    def __init__(self):
        self.graphs, self.passes, self.failed = {}, {}, {}
        # A graph keeps what it allocated, not the operands that it was given: these live as long as what names them.
        self.runs = []

    def add(self, name, run, sets=1):
        """`run(i)` on each set of buffers, recorded as a graph."""
        self.runs.append(run)
        try:
            self.graphs[name], self.passes[name] = captured(run, sets), sets
        except Exception as error:
            torch.cuda.synchronize()
            self.failed[name] = str(error).splitlines()[0][:160]

    def replay(self, name, count):
        """Milliseconds of one pass."""
        start, stop = torch.cuda.Event(enable_timing=True), torch.cuda.Event(enable_timing=True)
        start.record()
        for _ in range(count):
            self.graphs[name].replay()
        stop.record()
        torch.cuda.synchronize()
        return start.elapsed_time(stop) / count / self.passes[name]

    def run(self, rounds):
        times = {name: [] for name in self.graphs}
        repeats = {}
        for name in self.graphs:
            try:
                self.replay(name, 1)
            except Exception as error:
                raise RuntimeError(f"{name}: {str(error).splitlines()[0]}") from error
            repeats[name] = max(2, int(MEASURED_MS / max(self.replay(name, 1) * self.passes[name], 1e-3)))
        names = list(self.graphs)
        for _ in range(rounds):
            # The chip runs at its power limit and the control loop is slow: each candidate first runs until the clocks are those
            # that it causes itself, and the order changes from round to round, so that none always follows a light one.
            for name in random.sample(names, len(names)):
                self.replay(name, repeats[name] * WARM_TIMES)
                times[name].append(self.replay(name, repeats[name]))
        result = {}
        for name, values in times.items():
            values.sort()
            result[name] = {"ms": values[len(values) // 2], "min": values[0], "max": values[-1]}
        for name, message in self.failed.items():
            result[name] = {"failed": message}
        return result

    def energy(self, meter, name):
        """Joules of one pass, over half a second after a third of one as a start."""
        ms = self.replay(name, 4) * self.passes[name]
        self.replay(name, max(2, int(350 / ms)))
        count = max(2, int(500 / ms))
        before = meter()
        self.replay(name, count)
        return (meter() - before) / count / self.passes[name]


def energy_meter():
    """Joules that the GPU has used since its driver was loaded, by NVML's counter."""
    nvml = ctypes.CDLL("libnvidia-ml.so.1")
    device, value = ctypes.c_void_p(), ctypes.c_ulonglong()
    if nvml.nvmlInit_v2() or nvml.nvmlDeviceGetHandleByIndex_v2(0, ctypes.byref(device)):
        raise RuntimeError("NVML does not answer")
    def read():
        if nvml.nvmlDeviceGetTotalEnergyConsumption(device, ctypes.byref(value)):
            raise RuntimeError("NVML has no energy counter")
        return value.value / 1e3
    return read
