// The rows of z as PairGroups.cu hands it over and keeps it, in units.
#pragma once
#include "Element.cuh"

constexpr int unitRows = 64;

/// Row r of a column lies at r ^ rowTurn(column), so that lanes that write every other column are not in one another's banks. The rows of an
/// output piece, which is one column of every block, come out of the second product in that order.
__host__ __device__ constexpr int rowTurn(int column) { return column & 6; }
