// Barriers in shared memory, bulk copies and clusters (sm_90 and later).
#pragma once
#include "Element.cuh"

__device__ __forceinline__ u32 sharedAddress(const void* pointer) { return (u32)__cvta_generic_to_shared(pointer); }

__device__ __forceinline__ void barrierInit(u32 barrier, int arrivals) {
  asm volatile("mbarrier.init.shared::cta.b64 [%0], %1;" ::"r"(barrier), "r"(arrivals) : "memory");
}

__device__ __forceinline__ void barrierArrive(u32 barrier) {
  asm volatile("mbarrier.arrive.shared::cta.b64 _, [%0];" ::"r"(barrier) : "memory");
}

/// Arrives and announces `bytes` that bulk copies will deliver in this phase.
__device__ __forceinline__ void barrierExpect(u32 barrier, int bytes) {
  asm volatile("mbarrier.arrive.expect_tx.shared::cta.b64 _, [%0], %1;" ::"r"(barrier), "r"(bytes) : "memory");
}

/// Arrives on the barrier at the same place in block `rank` of the cluster. This orders what the copy engine and the matrix
/// units do; it publishes no ordinary store to the other block: that would take a fence at every step.
__device__ __forceinline__ void barrierArriveRemote(u32 barrier, u32 rank) {
  asm volatile(
      "{\n.reg .b32 remote;\n"
      "mapa.shared::cluster.u32 remote, %0, %1;\n"
      "mbarrier.arrive.shared::cluster.b64 _, [remote];\n}\n" ::"r"(barrier),
      "r"(rank)
      : "memory");
}

/// Writes a word at the same place in block `rank` of the cluster, counted in (4 bytes) at that block's barrier.
__device__ __forceinline__ void storeRemote(u32 address, u32 barrier, u32 rank, int value) {
  asm volatile(
      "{\n.reg .b32 remote, signal;\n"
      "mapa.shared::cluster.u32 remote, %0, %2;\n"
      "mapa.shared::cluster.u32 signal, %1, %2;\n"
      "st.async.shared::cluster.mbarrier::complete_tx::bytes.u32 [remote], %3, [signal];\n}\n" ::"r"(address),
      "r"(barrier), "r"(rank), "r"(value)
      : "memory");
}

/// Waits until the phase of parity `parity` has completed.
__device__ __forceinline__ void barrierWait(u32 barrier, u32 parity) {
  asm volatile(
      "{\n.reg .pred done;\n"
      "again:\n"
      "mbarrier.try_wait.parity.shared::cta.b64 done, [%0], %1;\n"
      "@!done bra again;\n}\n" ::"r"(barrier),
      "r"(parity)
      : "memory");
}

/// Copies `bytes` to shared memory; the barrier counts them in.
__device__ __forceinline__ void bulkCopy(u32 target, const void* source, int bytes, u32 barrier) {
  asm volatile(
      "cp.async.bulk.shared::cluster.global.mbarrier::complete_tx::bytes [%0], [%1], %2, [%3];" ::"r"(target), "l"(source),
      "r"(bytes), "r"(barrier)
      : "memory");
}

/// As bulkCopy, to the same place in every block of the cluster named by `mask`, counted in at each one's barrier.
__device__ __forceinline__ void bulkCopyMulticast(u32 target, const void* source, int bytes, u32 barrier, u16 mask) {
  asm volatile(
      "cp.async.bulk.shared::cluster.global.mbarrier::complete_tx::bytes.multicast::cluster [%0], [%1], %2, [%3], %4;" ::"r"(
          target),
      "l"(source), "r"(bytes), "r"(barrier), "h"(mask)
      : "memory");
}

__device__ __forceinline__ u32 clusterRank() {
  u32 rank;
  asm volatile("mov.u32 %0, %%cluster_ctarank;" : "=r"(rank));
  return rank;
}

__device__ __forceinline__ void clusterSync() {
  asm volatile("barrier.cluster.arrive.release.aligned;\nbarrier.cluster.wait.acquire.aligned;" ::: "memory");
}

/// Makes initialised barriers visible to the cluster and to the copy engine.
__device__ __forceinline__ void fenceBarrierInit() { asm volatile("fence.mbarrier_init.release.cluster;" ::: "memory"); }

/// Orders ordinary accesses of this thread and those of the copy engine to the same data.
__device__ __forceinline__ void fenceAsync() { asm volatile("fence.proxy.async;" ::: "memory"); }

template <int registers>
__device__ __forceinline__ void registersIncrease() {
  asm volatile("setmaxnreg.inc.sync.aligned.u32 %0;" ::"n"(registers));
}
template <int registers>
__device__ __forceinline__ void registersDecrease() {
  asm volatile("setmaxnreg.dec.sync.aligned.u32 %0;" ::"n"(registers));
}

/// Publishes everything this thread has seen, then adds one to a counter in global memory.
__device__ __forceinline__ void publish(int* counter) {
  asm volatile("fence.acq_rel.gpu;\nred.relaxed.gpu.global.add.s32 [%0], 1;" ::"l"(counter) : "memory");
}

/// Waits until a counter in global memory has reached `count`, and acquires what was published with it.
__device__ __forceinline__ void awaitCount(const int* counter, int count) {
  int value;
  while (true) {
    asm volatile("ld.acquire.gpu.global.s32 %0, [%1];" : "=r"(value) : "l"(counter) : "memory");
    if (value >= count) return;
    __nanosleep(400);
  }
}
