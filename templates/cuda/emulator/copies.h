// Copies to shared memory that go on meanwhile: CUDA's primitives, and functions of ``templates/cuda/functions.cuh``,
// which are PTX there.
#pragma once

// So many of the bytes at the end are zeros, for which nothing is read.
EMULATOR_INLINE void __pipeline_memcpy_async(
    void *to, const void *from, size_t size, size_t zeros = 0, EMULATOR_LINE) {
  emulator_copy(to, from, size, zeros, line);
}
EMULATOR_INLINE void __pipeline_commit() { emulator_commit(); }
EMULATOR_INLINE void __pipeline_wait_prior(size_t pending) { emulator_await(pending); }

template <int N>
EMULATOR_INLINE void copy_ahead(void *to, const void *from, EMULATOR_LINE) {
  emulator_copy(to, from, N, 0, line);
}
// As PTX has it: what is in no group yet is one now.
EMULATOR_INLINE void await_copies() {
  emulator_commit();
  emulator_await(0);
}
