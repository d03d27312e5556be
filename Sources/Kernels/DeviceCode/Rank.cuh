// The rank of one compilation: the number of planes.
#pragma once

#ifndef TESSERA_RANK
#define TESSERA_RANK 16
#endif

constexpr int rank = TESSERA_RANK;
