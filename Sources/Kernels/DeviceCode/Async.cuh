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

/// Arrives if so asked, without a branch.
__device__ __forceinline__ void barrierArriveIf(bool arrives, u32 barrier) {
  asm volatile(
      "{\n.reg .pred arrives;\n"
      "setp.ne.u32 arrives, %1, 0;\n"
      "@arrives mbarrier.arrive.shared::cta.b64 _, [%0];\n}\n" ::"r"(barrier),
      "r"((u32)arrives)
      : "memory");
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

/// As barrierArriveRemote, if so asked, without a branch.
__device__ __forceinline__ void barrierArriveRemoteIf(bool arrives, u32 barrier, u32 rank) {
  asm volatile(
      "{\n.reg .b32 remote;\n.reg .pred arrives;\n"
      "setp.ne.u32 arrives, %2, 0;\n"
      "mapa.shared::cluster.u32 remote, %0, %1;\n"
      "@arrives mbarrier.arrive.shared::cluster.b64 _, [remote];\n}\n" ::"r"(barrier),
      "r"(rank), "r"((u32)arrives)
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

/// Copies 16 bytes to shared memory or, where they are not present, zeros, by this thread and later.
__device__ __forceinline__ void copyAsync16(u32 target, const void* source, bool present) {
  asm volatile("cp.async.cg.shared.global [%0], [%1], 16, %2;" ::"r"(target), "l"(source), "r"(present ? 16 : 0) : "memory");
}

/// Copies `bytes` to shared memory; the barrier counts them in.
__device__ __forceinline__ void bulkCopy(u32 target, const void* source, int bytes, u32 barrier) {
  asm volatile(
      "cp.async.bulk.shared::cluster.global.mbarrier::complete_tx::bytes [%0], [%1], %2, [%3];" ::"r"(target), "l"(source),
      "r"(bytes), "r"(barrier)
      : "memory");
}

/// Copies `bytes` from `source` to the place `address` of block `block` of the cluster, counted in at that block's barrier.
__device__ __forceinline__ void bulkCopyToBlock(u32 address, u32 source, int bytes, u32 barrier, int block) {
  asm volatile(
      "{\n.reg .b32 remote, signal;\n"
      "mapa.shared::cluster.u32 remote, %0, %4;\n"
      "mapa.shared::cluster.u32 signal, %3, %4;\n"
      "cp.async.bulk.shared::cluster.shared::cta.mbarrier::complete_tx::bytes [remote], [%1], %2, [signal];\n}\n" ::"r"(address),
      "r"(source), "r"(bytes), "r"(barrier), "r"(block)
      : "memory");
}

/// Copies `bytes` of shared memory to device memory.
__device__ __forceinline__ void bulkCopyOut(void* target, u32 source, int bytes) {
  asm volatile("cp.async.bulk.global.shared::cta.bulk_group [%0], [%1], %2;" ::"l"(target), "r"(source), "r"(bytes) : "memory");
}

/// Makes one group of what this thread has begun to copy to device memory since the last.
__device__ __forceinline__ void writesCommit() { asm volatile("cp.async.bulk.commit_group;" ::: "memory"); }

/// Waits until all but `pending` groups of this thread have been read from shared memory.
template <int pending>
__device__ __forceinline__ void writesWait() {
  asm volatile("cp.async.bulk.wait_group.read %0;" ::"n"(pending) : "memory");
}

/// Whether this is the one lane of its warp that acts for all: the compiler knows such, and takes what is alike in all lanes as it is.
__device__ __forceinline__ bool electLane() {
  u32 elected;
  asm volatile(
      "{\n.reg .pred one;\n"
      "elect.sync _|one, 0xffffffff;\n"
      "selp.u32 %0, 1, 0, one;\n}\n"
      : "=r"(elected));
  return elected;
}

__device__ __forceinline__ u32 clusterRank() {
  u32 rank;
  asm volatile("mov.u32 %0, %%cluster_ctarank;" : "=r"(rank));
  return rank;
}

__device__ __forceinline__ void clusterArrive() { asm volatile("barrier.cluster.arrive.release.aligned;" ::: "memory"); }

__device__ __forceinline__ void clusterWait() { asm volatile("barrier.cluster.wait.acquire.aligned;" ::: "memory"); }

__device__ __forceinline__ void clusterSync() {
  clusterArrive();
  clusterWait();
}

/// Makes initialised barriers visible to the cluster and to the copy engine.
__device__ __forceinline__ void fenceBarrierInit() { asm volatile("fence.mbarrier_init.release.cluster;" ::: "memory"); }

/// Orders ordinary accesses of this thread to shared memory and those of the copy engine and the matrix units to the same data.
/// Without the state space it would wait for stores to device memory too.
__device__ __forceinline__ void fenceAsync() { asm volatile("fence.proxy.async.shared::cta;" ::: "memory"); }
