"""What all plans and launches of factors share."""

# Bytes of shared memory of a block, and multiprocessors, of an H200.
SHARED_LIMIT, SMS = 232448, 132
ACTIVATIONS = {"none": 0, "gelu": 1, "gelu_tanh": 2, "silu": 3}


def ceil_div(a, b):
    return -(-a // b)


def round_up(a, b):
    return ceil_div(a, b) * b


def epilogue_parts(bias, gate, residual):
    return (bias is not None) + 2 * (gate is not None) + 4 * (residual is not None)
