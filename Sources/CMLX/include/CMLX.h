// A C face for the part of MLX's C++ interface that Tessera uses.
//
// Conventions
// - Every function that can fail returns NULL on success, or a message that the caller frees with
//   free(). No C++ exception leaves this module.
// - `CMLXArray` is an owned handle: free it with cmlx_array_free. Arguments are borrowed.
// - `CMLXArrays` is an owned list of owned handles: free it with cmlx_arrays_free.
// - Shapes and axes are int32 arrays with a count. Work goes to the default stream of the calling
//   thread, except linear algebra, which MLX has on the CPU only.

#ifndef CMLX_H
#define CMLX_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#ifdef __cplusplus
extern "C" {
#endif

typedef struct CMLXArrayBox *CMLXArray;
typedef struct CMLXFunctionBox *CMLXFunction;
typedef struct CMLXGroupBox *CMLXGroup;
typedef struct CMLXKernelBox *CMLXKernel;

typedef struct {
  CMLXArray *items;
  size_t count;
} CMLXArrays;

typedef enum {
  CMLX_BOOL, CMLX_UINT8, CMLX_UINT16, CMLX_UINT32, CMLX_UINT64, CMLX_INT8, CMLX_INT16,
  CMLX_INT32, CMLX_INT64, CMLX_FLOAT16, CMLX_FLOAT32, CMLX_FLOAT64, CMLX_BFLOAT16, CMLX_COMPLEX64
} CMLXType;

// MARK: - Arrays

CMLXArray cmlx_array_copy(CMLXArray array);
void cmlx_array_free(CMLXArray array);
bool cmlx_array_is_same(CMLXArray a, CMLXArray b);
void cmlx_arrays_free(CMLXArrays arrays);
char *cmlx_array_from_bytes(
    CMLXArray *out, const void *bytes, const int32_t *shape, size_t rank, CMLXType type);
size_t cmlx_array_rank(CMLXArray array);
int32_t cmlx_array_dim(CMLXArray array, size_t axis);
size_t cmlx_array_size(CMLXArray array);
size_t cmlx_array_byte_count(CMLXArray array);
CMLXType cmlx_array_type(CMLXArray array);
// Evaluates the array and copies its elements in row-major order; `count` has to be their bytes.
char *cmlx_array_read(CMLXArray array, void *bytes, size_t count);
char *cmlx_array_describe(char **out, CMLXArray array);
char *cmlx_eval(const CMLXArray *arrays, size_t count);
char *cmlx_async_eval(const CMLXArray *arrays, size_t count);

// MARK: - Element-wise operations

#define CMLX_UNARY_OPERATIONS(X)                                                                   \
  X(abs) X(arccos) X(arccosh) X(arcsin) X(arcsinh) X(arctan) X(arctanh) X(bitwise_invert) X(ceil)  \
  X(cos) X(cosh) X(erf) X(erfinv) X(exp) X(expm1) X(floor) X(isfinite) X(isinf) X(isnan) X(log)    \
  X(log10) X(log1p) X(log2) X(logical_not) X(negative) X(ones_like) X(reciprocal) X(rsqrt)         \
  X(sigmoid) X(sign) X(sin) X(sinh) X(sqrt) X(square) X(stop_gradient) X(tan) X(tanh)              \
  X(zeros_like)
#define CMLX_BINARY_OPERATIONS(X)                                                                  \
  X(add) X(arctan2) X(bitwise_and) X(bitwise_or) X(bitwise_xor) X(divide) X(equal) X(floor_divide) \
  X(greater) X(greater_equal) X(kron) X(left_shift) X(less) X(less_equal) X(logaddexp)             \
  X(logical_and) X(logical_or) X(matmul) X(maximum) X(minimum) X(multiply) X(not_equal) X(outer)   \
  X(power) X(remainder) X(right_shift) X(subtract)
#define CMLX_REDUCTIONS(X) X(all) X(any) X(logsumexp) X(max) X(mean) X(min) X(prod) X(sum)
#define CMLX_DECLARE_UNARY(name) char *cmlx_##name(CMLXArray *out, CMLXArray a);
#define CMLX_DECLARE_BINARY(name) char *cmlx_##name(CMLXArray *out, CMLXArray a, CMLXArray b);
#define CMLX_DECLARE_REDUCTION(name)                                                               \
  char *cmlx_##name(                                                                               \
      CMLXArray *out, CMLXArray a, const int32_t *axes, size_t count, bool keep_dims);
CMLX_UNARY_OPERATIONS(CMLX_DECLARE_UNARY)
CMLX_BINARY_OPERATIONS(CMLX_DECLARE_BINARY)
CMLX_REDUCTIONS(CMLX_DECLARE_REDUCTION)

char *cmlx_variance(
    CMLXArray *out, CMLXArray a, const int32_t *axes, size_t count, bool keep_dims, int32_t ddof);
char *cmlx_argmax(CMLXArray *out, CMLXArray a, int32_t axis, bool keep_dims);
char *cmlx_argmin(CMLXArray *out, CMLXArray a, int32_t axis, bool keep_dims);
char *cmlx_where(CMLXArray *out, CMLXArray condition, CMLXArray x, CMLXArray y);
char *cmlx_clip(CMLXArray *out, CMLXArray a, CMLXArray min_or_null, CMLXArray max_or_null);
char *cmlx_round(CMLXArray *out, CMLXArray a, int32_t decimals);
char *cmlx_astype(CMLXArray *out, CMLXArray a, CMLXType type);
char *cmlx_view(CMLXArray *out, CMLXArray a, CMLXType type);
char *cmlx_softmax(CMLXArray *out, CMLXArray a, const int32_t *axes, size_t count, bool precise);
char *cmlx_array_equal(CMLXArray *out, CMLXArray a, CMLXArray b, bool equal_nan);
char *cmlx_addmm(CMLXArray *out, CMLXArray c, CMLXArray a, CMLXArray b, float alpha, float beta);
char *cmlx_einsum(CMLXArray *out, const char *subscripts, const CMLXArray *operands, size_t count);
char *cmlx_cumsum(CMLXArray *out, CMLXArray a, int32_t axis, bool reverse, bool inclusive);
char *cmlx_hadamard_transform(CMLXArray *out, CMLXArray a, float scale);

// MARK: - Making arrays

char *cmlx_full(
    CMLXArray *out, const int32_t *shape, size_t rank, CMLXArray value, CMLXType type);
char *cmlx_arange(CMLXArray *out, double start, double stop, double step, CMLXType type);
char *cmlx_linspace(CMLXArray *out, double start, double stop, int32_t count, CMLXType type);
char *cmlx_eye(CMLXArray *out, int32_t rows, int32_t columns, int32_t diagonal, CMLXType type);
char *cmlx_tri(CMLXArray *out, int32_t rows, int32_t columns, int32_t diagonal, CMLXType type);

// MARK: - Shapes

char *cmlx_reshape(CMLXArray *out, CMLXArray a, const int32_t *shape, size_t rank);
char *cmlx_transpose(CMLXArray *out, CMLXArray a, const int32_t *axes, size_t count);
char *cmlx_swapaxes(CMLXArray *out, CMLXArray a, int32_t axis1, int32_t axis2);
char *cmlx_moveaxis(CMLXArray *out, CMLXArray a, int32_t source, int32_t destination);
char *cmlx_expand_dims(CMLXArray *out, CMLXArray a, const int32_t *axes, size_t count);
char *cmlx_squeeze(CMLXArray *out, CMLXArray a, const int32_t *axes, size_t count);
char *cmlx_broadcast_to(CMLXArray *out, CMLXArray a, const int32_t *shape, size_t rank);
char *cmlx_concatenate(CMLXArray *out, const CMLXArray *arrays, size_t count, int32_t axis);
char *cmlx_stack(CMLXArray *out, const CMLXArray *arrays, size_t count, int32_t axis);
char *cmlx_split_at(
    CMLXArrays *out, CMLXArray a, const int32_t *indices, size_t count, int32_t axis);
char *cmlx_split_into(CMLXArrays *out, CMLXArray a, int32_t parts, int32_t axis);
char *cmlx_repeat(CMLXArray *out, CMLXArray a, int32_t count, int32_t axis);
char *cmlx_tile(CMLXArray *out, CMLXArray a, const int32_t *counts, size_t rank);
char *cmlx_pad(
    CMLXArray *out, CMLXArray a, const int32_t *low, const int32_t *high, size_t rank,
    CMLXArray value);
char *cmlx_contiguous(CMLXArray *out, CMLXArray a);
char *cmlx_as_strided(
    CMLXArray *out, CMLXArray a, const int32_t *shape, const int64_t *strides, size_t rank,
    size_t offset);
char *cmlx_diag(CMLXArray *out, CMLXArray a, int32_t k);
char *cmlx_diagonal(CMLXArray *out, CMLXArray a, int32_t offset, int32_t axis1, int32_t axis2);

// MARK: - Indexing and sorting

char *cmlx_slice(
    CMLXArray *out, CMLXArray a, const int32_t *start, const int32_t *stop, const int32_t *strides,
    size_t rank);
char *cmlx_slice_update(
    CMLXArray *out, CMLXArray a, CMLXArray update, const int32_t *start, const int32_t *stop,
    const int32_t *strides, size_t rank);
char *cmlx_take(CMLXArray *out, CMLXArray a, CMLXArray indices, int32_t axis);
char *cmlx_take_along_axis(CMLXArray *out, CMLXArray a, CMLXArray indices, int32_t axis);
char *cmlx_put_along_axis(
    CMLXArray *out, CMLXArray a, CMLXArray indices, CMLXArray values, int32_t axis);
char *cmlx_scatter_add_axis(
    CMLXArray *out, CMLXArray a, CMLXArray indices, CMLXArray values, int32_t axis);
char *cmlx_sort(CMLXArray *out, CMLXArray a, int32_t axis);
char *cmlx_argsort(CMLXArray *out, CMLXArray a, int32_t axis);
char *cmlx_argpartition(CMLXArray *out, CMLXArray a, int32_t kth, int32_t axis);

// MARK: - Fused operations

char *cmlx_layer_norm(
    CMLXArray *out, CMLXArray x, CMLXArray weight_or_null, CMLXArray bias_or_null, float eps);
char *cmlx_rms_norm(CMLXArray *out, CMLXArray x, CMLXArray weight_or_null, float eps);
char *cmlx_rope(
    CMLXArray *out, CMLXArray x, int32_t dimensions, bool traditional, float base, float scale,
    int32_t offset, CMLXArray periods_or_null);
char *cmlx_attention(
    CMLXArray *out, CMLXArray queries, CMLXArray keys, CMLXArray values, float scale, bool causal,
    CMLXArray mask_or_null);

// MARK: - CUDA kernels of the caller's

typedef enum { CMLX_SCALAR_INT, CMLX_SCALAR_BOOL, CMLX_SCALAR_FLOAT } CMLXScalarKind;

typedef struct {
  CMLXScalarKind kind;
  int32_t integer;
  float number;
} CMLXScalar;

typedef struct {
  const int32_t *shape;
  size_t rank;
  CMLXType type;
} CMLXArrayDescription;

typedef struct {
  int32_t x, y, z;
} CMLXExtent;

// Copies the machine code of one kernel. `cluster` is the number of blocks of a cluster that the code
// fixes, or 0.
char *cmlx_kernel_make(
    CMLXKernel *out, const char *name, const void *binary, size_t count, int32_t shared_memory,
    int32_t cluster);
void cmlx_kernel_free(CMLXKernel kernel);
// The kernel's parameters are the inputs (made contiguous), the outputs, the scalars. `grid` counts
// blocks.
char *cmlx_kernel_launch(
    CMLXArrays *out, CMLXKernel kernel, const CMLXArray *inputs, size_t input_count,
    const CMLXArrayDescription *outputs, size_t output_count, const CMLXScalar *scalars,
    size_t scalar_count, CMLXExtent grid, CMLXExtent block);

// MARK: - Batches of matrix products in place, by cuBLASLt

// A matrix of each of `batch` products: element (r, c) lies at offset + index * batch_stride +
// r * leading + c, or with r and c exchanged where it is transposed. The whole batch is repeated
// `outer` times, `outer_stride` further each time.
typedef struct {
  int64_t offset, leading, batch_stride, outer_stride;
  bool transposed;
} CMLXStrided;

// out [rows, columns] = a [rows, inner] b [inner, columns], `out` not transposed.
typedef struct {
  int64_t rows, columns, inner, batch, outer;
  CMLXStrided a, b, out;
  // float32 may round its operands to TF32.
  bool allows_tf32;
  // Bytes that cuBLASLt may use besides.
  int64_t workspace;
} CMLXStridedProduct;

// An error where this machine cannot do it.
char *cmlx_strided_product_check(void);
// What no product writes of the result is not initialised. Only on a GPU.
char *cmlx_strided_product(
    CMLXArray *out, const CMLXStridedProduct *product, CMLXArray a, CMLXArray b,
    CMLXArrayDescription result);

// MARK: - Products on sparse tensor cores

// y [rows, outputs] = x [rows, inputs] times the transpose of a weight of which two of every four numbers
// along the inputs are zero; 16-bit elements, by cuSPARSELt.
typedef struct {
  int64_t rows, outputs, inputs;
} CMLXSparseProduct;

// An error where this machine cannot do it.
char *cmlx_sparse_product_check(void);
// The bytes of a compressed weight, and of the room that compressing takes; `like` has the type.
char *cmlx_sparse_product_sizes(
    const CMLXSparseProduct *product, CMLXArray like, size_t *compressed, size_t *buffer);
// Compresses a weight [outputs, inputs] into `compressed` now, and searches the fastest algorithm for rows
// like x, with `room` for y. All arrays are evaluated, nothing else uses the last four.
char *cmlx_sparse_product_compress(
    const CMLXSparseProduct *product, CMLXArray weight, CMLXArray x, CMLXArray compressed,
    CMLXArray buffer, CMLXArray room, CMLXArray workspace);
// Only on a GPU.
char *cmlx_sparse_product(
    CMLXArray *out, const CMLXSparseProduct *product, CMLXArray x, CMLXArray compressed,
    CMLXArrayDescription result);

// MARK: - Functions of the caller's on the CPU

// Called on the thread of MLX's CPU stream, inputs row-major, outputs not initialised, with `scratch`
// bytes of memory that hold nothing of worth.
typedef void (*CMLXHostFunction)(
    const void *problem, const void *const *inputs, void *const *outputs, void *scratch);

// An operation of the graph; `problem` is copied.
char *cmlx_host_launch(
    CMLXArrays *out, const char *name, CMLXHostFunction run, const void *problem,
    size_t problem_size, size_t scratch, const CMLXArray *inputs, size_t input_count,
    const CMLXArrayDescription *outputs, size_t output_count);

// MARK: - Linear algebra (float32 or float64, on the CPU)

char *cmlx_svd(CMLXArrays *out, CMLXArray a);
char *cmlx_qr(CMLXArrays *out, CMLXArray a);
char *cmlx_eigh(CMLXArrays *out, CMLXArray a);
char *cmlx_cholesky(CMLXArray *out, CMLXArray a, bool upper);
char *cmlx_inverse(CMLXArray *out, CMLXArray a);
char *cmlx_pseudo_inverse(CMLXArray *out, CMLXArray a);
char *cmlx_solve(CMLXArray *out, CMLXArray a, CMLXArray b);
char *cmlx_solve_triangular(CMLXArray *out, CMLXArray a, CMLXArray b, bool upper);

// MARK: - Random numbers

char *cmlx_random_key(CMLXArray *out, uint64_t seed);
char *cmlx_random_seed(uint64_t seed);
char *cmlx_random_split(CMLXArray *out, CMLXArray key, int32_t count);
char *cmlx_random_uniform(
    CMLXArray *out, CMLXArray low, CMLXArray high, const int32_t *shape, size_t rank,
    CMLXType type, CMLXArray key_or_null);
char *cmlx_random_normal(
    CMLXArray *out, const int32_t *shape, size_t rank, CMLXType type, float mean, float deviation,
    CMLXArray key_or_null);
char *cmlx_random_integers(
    CMLXArray *out, CMLXArray low, CMLXArray high, const int32_t *shape, size_t rank,
    CMLXType type, CMLXArray key_or_null);
char *cmlx_random_bernoulli(
    CMLXArray *out, CMLXArray probability, const int32_t *shape, size_t rank,
    CMLXArray key_or_null);
char *cmlx_random_categorical(CMLXArray *out, CMLXArray logits, int32_t axis, CMLXArray key_or_null);
char *cmlx_random_permutation(CMLXArray *out, int32_t count, CMLXArray key_or_null);

// MARK: - Functions and their transformations

// A function of the caller's. `call` gets borrowed arguments and fills `out` with a list that it
// hands over; it returns NULL or a message made with malloc. `release` is called once, when MLX has
// dropped the function.
typedef struct {
  void *payload;
  char *(*call)(void *payload, const CMLXArray *arguments, size_t count, CMLXArrays *out);
  void (*release)(void *payload);
} CMLXClosure;

// A list for `call` to fill: takes ownership of the handles, copies the list.
CMLXArrays cmlx_arrays_make(const CMLXArray *items, size_t count);

char *cmlx_value_and_gradient(
    CMLXArrays *values, CMLXArrays *gradients, CMLXClosure function, const CMLXArray *arguments,
    size_t count, const int32_t *argument_numbers, size_t number_count);
char *cmlx_vjp(
    CMLXArrays *values, CMLXArrays *gradients, CMLXClosure function, const CMLXArray *primals,
    size_t primal_count, const CMLXArray *cotangents, size_t cotangent_count);
char *cmlx_jvp(
    CMLXArrays *values, CMLXArrays *tangents_out, CMLXClosure function, const CMLXArray *primals,
    size_t primal_count, const CMLXArray *tangents, size_t tangent_count);
char *cmlx_compile(CMLXFunction *out, CMLXClosure function, bool shapeless);
char *cmlx_checkpoint(CMLXFunction *out, CMLXClosure function);
// `backward` is called with the primals, then the cotangents, then the outputs, in one list.
char *cmlx_custom_gradient(CMLXFunction *out, CMLXClosure forward, CMLXClosure backward);
char *cmlx_call(CMLXArrays *out, CMLXFunction function, const CMLXArray *arguments, size_t count);
void cmlx_function_free(CMLXFunction function);

// MARK: - Devices, streams, memory

typedef struct {
  int32_t index;
  bool gpu;
} CMLXStream;

bool cmlx_gpu_available(void);
int32_t cmlx_gpu_count(void);
bool cmlx_default_device_is_gpu(void);
char *cmlx_set_default_device(bool gpu);
// Text lines `key: value` about the GPU or CPU.
char *cmlx_device_information(char **out, bool gpu);
char *cmlx_default_stream(CMLXStream *out, bool gpu);
char *cmlx_new_stream(CMLXStream *out, bool gpu);
char *cmlx_set_default_stream(CMLXStream stream);
char *cmlx_synchronize(CMLXStream stream);
const char *cmlx_version(void);
/// Bytes of memory and swap space; UINT64_MAX where the system does not say.
uint64_t cmlx_machine_memory(void);
size_t cmlx_active_memory(void);
size_t cmlx_peak_memory(void);
size_t cmlx_cache_memory(void);
void cmlx_reset_peak_memory(void);
size_t cmlx_set_memory_limit(size_t bytes);
size_t cmlx_set_cache_limit(size_t bytes);
void cmlx_clear_cache(void);
// How much freed memory the C library keeps, and up to which size an allocation may use it.
void cmlx_keep_freed(int32_t kept, int32_t largest);

// The shared library that a symbol of this process is taken from, or NULL: how a test sees which
// BLAS MLX's matmul runs on.
char *cmlx_symbol_origin(const char *symbol);
int32_t cmlx_blas_threads(void);
void cmlx_set_blas_threads(int32_t count);
// The processor whose kernels OpenBLAS runs, such as "Haswell".
const char *cmlx_blas_core(void);

// MARK: - Several processes

bool cmlx_distributed_available(const char *backend_or_null);
char *cmlx_distributed_init(CMLXGroup *out, bool strict, const char *backend_or_null);
int32_t cmlx_group_rank(CMLXGroup group);
int32_t cmlx_group_size(CMLXGroup group);
void cmlx_group_free(CMLXGroup group);
char *cmlx_all_sum(CMLXArray *out, CMLXArray a, CMLXGroup group);
char *cmlx_all_gather(CMLXArray *out, CMLXArray a, CMLXGroup group);
char *cmlx_sum_scatter(CMLXArray *out, CMLXArray a, CMLXGroup group);

#ifdef __cplusplus
}
#endif

#endif
