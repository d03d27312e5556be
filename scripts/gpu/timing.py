"""Times of short launches."""

import torch


def captured(run, sets=1):
    """A graph that goes through all sets of buffers."""
    stream = torch.cuda.Stream()
    with torch.cuda.stream(stream):
        for i in range(sets):
            run(i)
        torch.cuda.synchronize()
        graph = torch.cuda.CUDAGraph()
        with torch.cuda.graph(graph, stream=stream):
            for i in range(sets):
                run(i)
    return graph


def median_ms(run, sets=1, repeats=10):
    """Median of replays of a graph that goes through all sets of buffers."""
    graph = captured(run, sets)
    times = []
    for _ in range(repeats + 3):
        a, b = torch.cuda.Event(enable_timing=True), torch.cuda.Event(enable_timing=True)
        a.record()
        graph.replay()
        b.record()
        times.append((a, b))
    torch.cuda.synchronize()
    return sorted(a.elapsed_time(b) for a, b in times[3:])[repeats // 2] / sets
