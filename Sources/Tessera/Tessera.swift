/// Structured replacements for the dense linear layers of neural networks: what most users import.
@_exported import Conversion
@_exported import Encoders
@_exported import Kernels
@_exported import Layers
@_exported import MLX
@_exported import MLXNN
@_exported import MLXOptimizers
@_exported import Models
@_exported import Operators
@_exported import Reports
@_exported import Training
