// What the blocks of a cluster do together: functions of ``templates/cuda/functions.cuh``, which are PTX there.
#pragma once

EMULATOR_INLINE void cluster_arrive(EMULATOR_LINE) { emulator_cluster_arrive(line); }
EMULATOR_INLINE void cluster_wait(EMULATOR_LINE) { emulator_cluster_wait(line); }
EMULATOR_INLINE void cluster_fence() { emulator_cluster_fence(); }

template <typename T>
EMULATOR_INLINE T *place_in(T *own, unsigned block, EMULATOR_LINE) {
  return (T *)emulator_place_in((void *)own, block, line);
}
