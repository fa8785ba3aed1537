// CUDA on the host: what NVRTC gives to every kernel, for g++. Nothing here is for a kernel to include by hand.
//
// `__shared__` is thread_local, which can be declared in a function and as extern, and so needs no change of the
// source; the threads of a block are fibers of one thread of the host, so all of them see the same array.
#pragma once

#include <math.h>
#include <stdint.h>
#include <string.h>

#include "runtime.h"

#define __global__
#define __device__
#define __host__
#define __constant__
#define __grid_constant__
#define __forceinline__ inline __attribute__((always_inline))
#define __noinline__ __attribute__((noinline))
#define __launch_bounds__(...)
#define __cluster_dims__(...)
#define __align__(n) __attribute__((aligned(n)))
#define __shared__ thread_local
#define __CUDA_ARCH__ 900

#define EMULATOR_INLINE static inline __attribute__((always_inline))
// Not checked themselves: they tell the runtime what they are about to do.
#define EMULATOR_DEVICE static inline __attribute__((no_sanitize("thread", "undefined"), unused))
#define EMULATOR_LINE int line = __builtin_LINE()

typedef EmulatorIndex dim3;
typedef EmulatorIndex uint3;

// A thread's own never change, so that reading them once is enough.
extern "C" const EmulatorIndex threadIdx, blockIdx, blockDim, gridDim;
constexpr int warpSize = 32;

#include "atomics.h"
#include "clusters.h"
#include "copies.h"
#include "intrinsics.h"
#include "vectors.h"
#include "warps.h"
