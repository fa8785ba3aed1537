// Barriers, fences, shuffles and votes.
#pragma once

EMULATOR_INLINE void __syncthreads(EMULATOR_LINE) { emulator_barrier(EMULATOR_NONE, 0, line); }
EMULATOR_INLINE int __syncthreads_or(int value, EMULATOR_LINE) { return emulator_barrier(EMULATOR_OR, value, line); }
EMULATOR_INLINE int __syncthreads_and(int value, EMULATOR_LINE) { return emulator_barrier(EMULATOR_AND, value, line); }
EMULATOR_INLINE int __syncthreads_count(int value, EMULATOR_LINE) { return emulator_barrier(EMULATOR_COUNT, value, line); }

EMULATOR_INLINE void __threadfence() { emulator_fence(); }
EMULATOR_INLINE void __threadfence_block() {}
EMULATOR_INLINE void __threadfence_system() { emulator_fence(); }
EMULATOR_INLINE void __nanosleep(unsigned) {}

EMULATOR_INLINE void __syncwarp(unsigned mask = 0xffffffffu, EMULATOR_LINE) { emulator_warp(EMULATOR_SYNC, mask, 0, 0, line); }
EMULATOR_INLINE unsigned __activemask(EMULATOR_LINE) {
  return (unsigned)emulator_warp(EMULATOR_ACTIVE, 0xffffffffu, 1, 0, line);
}

// What the lane numbered `source` gives; -1 is this lane itself.
template <typename T>
EMULATOR_INLINE T emulator_shuffle(unsigned mask, T value, int source, int line) {
  static_assert(sizeof(T) <= 8, "a shuffle moves at most 8 bytes");
  unsigned long long bits = 0;
  __builtin_memcpy(&bits, &value, sizeof value);
  bits = emulator_warp(EMULATOR_SHUFFLE, mask, bits, source, line);
  __builtin_memcpy(&value, &bits, sizeof value);
  return value;
}
template <typename T>
EMULATOR_INLINE T __shfl_sync(unsigned mask, T value, int source, int width = 32, EMULATOR_LINE) {
  const int lane = emulator_lane(), first = lane & -width;
  return emulator_shuffle(mask, value, first + (source & (width - 1)), line);
}
template <typename T>
EMULATOR_INLINE T __shfl_xor_sync(unsigned mask, T value, int other, int width = 32, EMULATOR_LINE) {
  // Lanes of this part and of those before it can be read, not of those after it.
  const int lane = emulator_lane(), source = lane ^ other;
  return emulator_shuffle(mask, value, source >= (lane & -width) + width ? -1 : source, line);
}
template <typename T>
EMULATOR_INLINE T __shfl_up_sync(unsigned mask, T value, unsigned step, int width = 32, EMULATOR_LINE) {
  const int lane = emulator_lane(), source = lane - (int)step;
  return emulator_shuffle(mask, value, source < (lane & -width) ? -1 : source, line);
}
template <typename T>
EMULATOR_INLINE T __shfl_down_sync(unsigned mask, T value, unsigned step, int width = 32, EMULATOR_LINE) {
  const int lane = emulator_lane(), source = lane + (int)step;
  return emulator_shuffle(mask, value, source >= (lane & -width) + width ? -1 : source, line);
}

// The lanes of the mask that have not ended; what they say, as bits.
EMULATOR_INLINE unsigned __ballot_sync(unsigned mask, int value, EMULATOR_LINE) {
  return (unsigned)emulator_warp(EMULATOR_BALLOT, mask, value != 0, 0, line);
}
EMULATOR_INLINE int __any_sync(unsigned mask, int value, EMULATOR_LINE) { return __ballot_sync(mask, value, line) != 0; }
EMULATOR_INLINE int __all_sync(unsigned mask, int value, EMULATOR_LINE) { return __ballot_sync(mask, !value, line) == 0; }
template <typename T>
EMULATOR_INLINE unsigned __match_any_sync(unsigned mask, T value, EMULATOR_LINE) {
  unsigned long long bits = 0;
  __builtin_memcpy(&bits, &value, sizeof value);
  return (unsigned)emulator_warp(EMULATOR_MATCH, mask, bits, 0, line);
}
template <typename T>
EMULATOR_INLINE unsigned __match_all_sync(unsigned mask, T value, int *same, EMULATOR_LINE) {
  const unsigned all = __ballot_sync(mask, 1, line), alike = __match_any_sync(mask, value, line);
  return (*same = alike == all) ? all : 0;
}

// Combined over the lanes of the mask, in ascending order.
template <typename T, typename F>
EMULATOR_INLINE T emulator_reduce(unsigned mask, T value, F combine, int line) {
  unsigned rest = __ballot_sync(mask, 1, line);
  T total = emulator_shuffle(mask, value, __builtin_ctz(rest), line);
  while (rest &= rest - 1) total = combine(total, emulator_shuffle(mask, value, __builtin_ctz(rest), line));
  return total;
}
#define EMULATOR_REDUCE(name, type, expression)                                          \
  EMULATOR_INLINE type __reduce_##name##_sync(unsigned mask, type value, EMULATOR_LINE) { \
    return emulator_reduce(mask, value, [](type a, type b) { return (type)(expression); }, line); \
  }
EMULATOR_REDUCE(add, unsigned, a + b)
EMULATOR_REDUCE(add, int, a + b)
EMULATOR_REDUCE(min, unsigned, a < b ? a : b)
EMULATOR_REDUCE(min, int, a < b ? a : b)
EMULATOR_REDUCE(max, unsigned, a > b ? a : b)
EMULATOR_REDUCE(max, int, a > b ? a : b)
EMULATOR_REDUCE(and, unsigned, a & b)
EMULATOR_REDUCE(or, unsigned, a | b)
EMULATOR_REDUCE(xor, unsigned, a ^ b)
#undef EMULATOR_REDUCE
