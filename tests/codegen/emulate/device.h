// CUDA on the host, as far as tracec's kernels need it: a fiber for each thread of a block, one block at a time.
//
// It is for finding wrong indices and missing barriers on machines with no GPU: shared memory starts as
// 0xFF bytes (NaN) in every block, threads run in a chosen order between barriers, and a barrier or a shuffle
// that not all threads reach is an error.
#pragma once

#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <ucontext.h>

#include <functional>
#include <utility>
#include <vector>

#define __global__
#define __device__
#define __grid_constant__
#define __forceinline__ inline
#define __launch_bounds__(...)
#define __align__(n) __attribute__((aligned(n)))
#define __shared__ static __attribute__((section("shared_memory")))

struct dim3 {
  unsigned x, y, z;
};

inline dim3 threadIdx, blockIdx, blockDim, gridDim;
extern "C" char __start_shared_memory[] __attribute__((weak)), __stop_shared_memory[] __attribute__((weak));

namespace emulator {

enum State { READY, AT_BARRIER, AT_SHUFFLE, DONE };

struct Fiber {
  ucontext_t context;
  State state;
  dim3 index;
  unsigned long long slots[2];
  int turn;
};

constexpr size_t STACK = 64 * 1024;
alignas(16) inline unsigned char dynamic_shared[232448];
inline std::vector<Fiber> fibers;
inline std::function<void()> body;
inline ucontext_t scheduler;
inline int current;

inline void pause(State state) {
  Fiber &self = fibers[current];
  self.state = state;
  swapcontext(&self.context, &scheduler);
}

inline void start() {
  body();
  pause(DONE);
}

inline void prepare(Fiber &fiber, char *stack) {
  fiber.state = READY;
  fiber.turn = 0;
  getcontext(&fiber.context);
  fiber.context.uc_stack.ss_sp = stack;
  fiber.context.uc_stack.ss_size = STACK;
  fiber.context.uc_link = nullptr;
  makecontext(&fiber.context, start, 0);
}

// Lets the threads of [first, last) go on if each that has not ended waits in `state`; whether there is one.
inline bool release(int first, int last, State state) {
  int waiting = 0;
  for (int t = first; t < last; ++t) {
    if (fibers[t].state != state && fibers[t].state != DONE) return false;
    waiting += fibers[t].state == state;
  }
  for (int t = first; t < last; ++t) {
    if (fibers[t].state == state) fibers[t].state = READY;
  }
  return waiting > 0;
}

// Runs every ready thread of [first, first + count) once, in the order chosen; whether there was one.
inline bool step(int first, int count, int order, unsigned &random) {
  bool ran = false;
  const unsigned start = order == 2 ? (random = random * 1664525u + 1013904223u) >> 8 : 0;
  for (int k = 0; k < count; ++k) {
    current = first + (order == 1 ? count - 1 - k : (k * (order == 2 ? 7919u : 1u) + start) % count);
    if (fibers[current].state != READY) continue;
    threadIdx = fibers[current].index;
    swapcontext(&scheduler, &fibers[current].context);
    ran = true;
  }
  return ran;
}

// Runs one block; an error message, or null. Warps run ahead as far as they can, or all threads in turn (2).
inline const char *run_block(int threads, int order) {
  static char *stacks = (char *)mmap(nullptr, 1024 * STACK, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
  memset(__start_shared_memory, 0xFF, __stop_shared_memory - __start_shared_memory);
  memset(dynamic_shared, 0xFF, sizeof dynamic_shared);
  for (int t = 0; t < threads; ++t) prepare(fibers[t], stacks + t * STACK);
  unsigned random = 12345;
  const int group = order == 2 ? threads : 32, groups = (threads + group - 1) / group;
  for (;;) {
    for (int g = 0; g < groups; ++g) {
      const int first = (order == 1 ? groups - 1 - g : g) * group, last = first + group < threads ? first + group : threads;
      for (bool going = true; going;) {
        going = step(first, last - first, order, random);
        for (int warp = first; warp < last; warp += 32) going |= release(warp, warp + 32 < last ? warp + 32 : last, AT_SHUFFLE);
      }
    }
    int done = 0, waiting = 0;
    for (int t = 0; t < threads; ++t) done += fibers[t].state == DONE, waiting += fibers[t].state == AT_BARRIER;
    if (done == threads) return nullptr;
    if (done && waiting) return "some threads wait at a barrier that others never reach";
    if (!release(0, threads, AT_BARRIER)) return "some threads of a warp wait at a shuffle that others never reach";
  }
}

template <class... P, size_t... I>
void call(void (*kernel)(P...), void **args, std::index_sequence<I...>) {
  kernel(*(P *)args[I]...);
}

// `args` point at the parameters, as for cuLaunchKernel.
template <class... P>
int launch(void (*kernel)(P...), const unsigned *grid, const unsigned *block, void **args, int order, char *message) {
  gridDim = {grid[0], grid[1], grid[2]};
  blockDim = {block[0], block[1], block[2]};
  const int threads = block[0] * block[1] * block[2];
  fibers.assign(threads, Fiber{});
  for (int t = 0; t < threads; ++t) {
    fibers[t].index = {t % block[0], t / block[0] % block[1], t / (block[0] * block[1])};
  }
  body = [=] { call(kernel, args, std::index_sequence_for<P...>{}); };
  const unsigned blocks = grid[0] * grid[1] * grid[2];
  for (unsigned b = 0; b < blocks; ++b) {
    blockIdx = {b % grid[0], b / grid[0] % grid[1], b / (grid[0] * grid[1])};
    if (const char *error = run_block(threads, order)) {
      snprintf(message, 256, "block %u: %s", b, error);
      return 1;
    }
  }
  return 0;
}

template <typename T>
T exchange(T value, int source) {
  Fiber &self = fibers[current];
  const int slot = self.turn++ & 1;
  memcpy(&self.slots[slot], &value, sizeof value);
  const int own = current;
  pause(AT_SHUFFLE);
  const int from = own / 32 * 32 + source;
  T result = value;
  if (source >= 0 && source < 32 && from < (int)fibers.size()) memcpy(&result, &fibers[from].slots[slot], sizeof result);
  return result;
}

}  // namespace emulator

#define EMULATE(kernel)                                                                                           \
  extern "C" int emulate_##kernel(const unsigned *grid, const unsigned *block, void **args, int order, char *message) { \
    return emulator::launch(kernel, grid, block, args, order, message);                                           \
  }

inline void __syncthreads() { emulator::pause(emulator::AT_BARRIER); }
inline void __syncwarp() { emulator::pause(emulator::AT_SHUFFLE); }
template <typename T>
T __shfl_xor_sync(unsigned, T value, int mask) {
  return emulator::exchange(value, emulator::current % 32 ^ mask);
}
template <typename T>
T __shfl_up_sync(unsigned, T value, int step) {
  return emulator::exchange(value, emulator::current % 32 - step);
}

template <typename T>
T __shfl_sync(unsigned, T value, int source) {
  return emulator::exchange(value, source);
}
inline unsigned __ballot_sync(unsigned, bool vote) {
  emulator::Fiber &self = emulator::fibers[emulator::current];
  const int slot = self.turn++ & 1, first = emulator::current / 32 * 32;
  self.slots[slot] = vote;
  emulator::pause(emulator::AT_SHUFFLE);
  unsigned votes = 0;
  for (int lane = 0; lane < 32 && first + lane < (int)emulator::fibers.size(); ++lane) {
    votes |= (unsigned)(emulator::fibers[first + lane].slots[slot] & 1) << lane;
  }
  return votes;
}
inline int __popc(unsigned x) { return __builtin_popcount(x); }
template <typename T>
T atomicAdd(T *address, T value) {
  const T before = *address;
  *address = before + value;
  return before;
}

inline float __int_as_float(int bits) { float x; memcpy(&x, &bits, 4); return x; }
inline int __float_as_int(float x) { int bits; memcpy(&bits, &x, 4); return bits; }
inline double __longlong_as_double(long long bits) { double x; memcpy(&x, &bits, 8); return x; }
inline long long __double_as_longlong(double x) { long long bits; memcpy(&bits, &x, 8); return bits; }
inline unsigned __umulhi(unsigned a, unsigned b) { return (unsigned long long)a * b >> 32; }
inline float rsqrtf(float x) { return 1.0f / sqrtf(x); }
inline double rsqrt(double x) { return 1.0 / sqrt(x); }

struct __half {
  unsigned short bits;
};
struct __nv_bfloat16 {
  unsigned short bits;
};
inline float __bfloat162float(__nv_bfloat16 x) { return __int_as_float((int)((unsigned)x.bits << 16)); }
inline __nv_bfloat16 __float2bfloat16_rn(float x) {
  const unsigned u = (unsigned)__float_as_int(x);
  return {(unsigned short)(x != x ? u >> 16 | 0x40 : (u + 0x7fff + (u >> 16 & 1)) >> 16)};
}
inline float __half2float(__half x) {
  const int exponent = x.bits >> 10 & 31, fraction = x.bits & 1023;
  const float size = exponent == 31  ? (fraction ? NAN : INFINITY)
                     : exponent == 0 ? ldexpf((float)fraction, -24)
                                     : ldexpf((float)(fraction + 1024), exponent - 25);
  return x.bits >> 15 ? -size : size;
}
inline __half __float2half_rn(float x) {
  const unsigned short sign = signbit(x) ? 0x8000 : 0;
  const float size = fabsf(x);
  if (x != x) return {0x7fff};
  if (size >= 65520.0f) return {(unsigned short)(sign | 0x7c00)};
  int exponent = 0;
  frexpf(size, &exponent);
  const bool small = size < 0x1p-14f;
  const unsigned units = (unsigned)rintf(ldexpf(size, small ? 24 : 11 - exponent));  // of the last bit
  return {(unsigned short)(sign | (small ? units : ((unsigned)(exponent + 13) << 10) + units))};
}
