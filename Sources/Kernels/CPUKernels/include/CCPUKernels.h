// Structured products on the CPU, float32, row-major: planes and intermediates live in cache.
//
// Problems are described by plain structures; the functions that solve them all have one form, in which
// arrays are lists of pointers. Results do not depend on the number of threads, nor on how rows are cut into blocks: every output is
// summed in one order.
#ifndef CCPUKERNELS_H
#define CCPUKERNELS_H

#include <stddef.h>
#include <stdint.h>

// What the vector code is compiled for, chosen at run time.
typedef enum {
  TESSERA_CPU_PORTABLE,
  TESSERA_CPU_AVX2,
  TESSERA_CPU_AVX512,
} TesseraCPULevel;

// The best level that this processor can run.
TesseraCPULevel tessera_cpu_level(void);

// Whether a level multiplies pairs of bfloat16 in one instruction on this processor.
int32_t tessera_cpu_has_pairs(TesseraCPULevel level);

// After each product OpenBLAS's threads wait awake for so many ticks of the clock, as a power of two, and
// take a processor from whatever comes next.
int openblas_thread_timeout(void);

// A copy by several threads: what memory gives at best. inputs: any floats; outputs: as many.
typedef struct {
  int64_t count;
  int32_t threads;
} TesseraCopy;

void tessera_copy(
    const void *problem, const void *const *inputs, void *const *outputs, void *scratch);

// What is applied to an output where it is written.
typedef enum {
  TESSERA_NO_ACTIVATION,
  TESSERA_GELU,
  TESSERA_GELU_TANH,
  TESSERA_SILU,
} TesseraActivation;

// How rows form tiles of t: along the tokens of each sample, or at one token across samples.
typedef struct {
  int64_t samples, tokens;
  int32_t tile, across_samples;
} TesseraRowTiles;

// Y [rows, N] = activation(decode(encode(X) W) + bias), by planes of one product each.
typedef struct {
  TesseraRowTiles rows;
  int64_t inputs, outputs, rank;
  TesseraCPULevel level;
  int32_t threads, has_bias;
  // Whether the weight is stored as [R, ceil(K/t), ceil(N/t)].
  int32_t is_transposed;
  TesseraActivation activation;
  // Whether dy [rows, N] is given too, and Y is dy times the activation's derivative.
  int32_t has_gradient;
  // Whether planes and weights are rounded to bfloat16, which some processors multiply twice as fast; sums are
  // of float32.
  int32_t is_short;
} TesseraStrassenTile;

// Bytes that the product needs beside its operands.
size_t tessera_strassen_tile_scratch(const TesseraStrassenTile *problem);

// inputs: x [rows, K], weight [R, ceil(N/t), ceil(K/t)], encoder [R, t*t], decoder [R, t*t], then bias
// [N] and dy [rows, N] if there are any; outputs: y [rows, N].
void tessera_strassen_tile(
    const void *problem, const void *const *inputs, void *const *outputs, void *scratch);

size_t tessera_strassen_tile_encode_scratch(const TesseraStrassenTile *problem);

// inputs: x [rows, K] and encoder [R, t*t]; outputs: the planes [R, tiles, ceil(K/t)].
void tessera_strassen_tile_encode(
    const void *problem, const void *const *inputs, void *const *outputs, void *scratch);

// A loop of a factor: how often, and how far each turn goes in the weight, in what comes in and in what
// goes out.
typedef struct {
  int64_t count, weight, input, output;
} TesseraAxis;

// One factor of a chain: over all blocks and outputs,
//   out[block + output] = sum over inner of w[block + output + inner] * in[block + inner],
// where each index is a sum of steps along two axes. All block-diagonal, Kronecker-sparse and dense
// factors, permuted before or after, are of this form.
typedef struct {
  TesseraAxis blocks[2], outputs[2], inner[2];
} TesseraBlockFactor;

enum { TESSERA_CHAIN_LIMIT = 16, TESSERA_LARGEST_TILE = 8 };

// Y [rows, N] = activation(the chain's factors applied to the rows of X [rows, K], the first one first, + bias).
typedef struct {
  int64_t rows, inputs, outputs;
  // How many numbers a row has before the first factor and after each, padding included.
  int64_t widths[TESSERA_CHAIN_LIMIT + 1];
  TesseraBlockFactor factors[TESSERA_CHAIN_LIMIT];
  int32_t count;
  TesseraCPULevel level;
  int32_t threads, has_bias;
  TesseraActivation activation;
} TesseraChain;

size_t tessera_chain_scratch(const TesseraChain *problem);

// inputs: x [rows, K], the numbers of each factor, and bias [N] if there is one; outputs: y [rows, N].
void tessera_chain(
    const void *problem, const void *const *inputs, void *const *outputs, void *scratch);

size_t tessera_chain_gradient_scratch(const TesseraChain *problem);

// The gradients of the product. Each factor's array is as large as its axes say, without gaps.
// inputs: x [rows, K], dy [rows, N], the numbers of each factor, and bias [N] if there is one; outputs: dx
// [rows, K], the gradient of each factor's numbers, and, where there is an activation, the gradient
// [rows, N] of what goes into it.
void tessera_chain_gradient(
    const void *problem, const void *const *inputs, void *const *outputs, void *scratch);

#endif
