// What the emulator's runtime and the code compiled for it agree on; `tracec/runtime/emulator_library.py` mirrors it.
#pragma once

struct EmulatorIndex {
  unsigned x, y, z;
};

// What the lanes of a warp do together.
// EMULATOR_ACTIVE asks who is there.
enum EmulatorCollective { EMULATOR_SYNC, EMULATOR_SHUFFLE, EMULATOR_BALLOT, EMULATOR_MATCH, EMULATOR_ACTIVE };

// What the threads of a block find out at a barrier.
enum EmulatorVote { EMULATOR_NONE, EMULATOR_OR, EMULATOR_AND, EMULATOR_COUNT };

// What an atomic operation does to memory.
enum EmulatorAccess { EMULATOR_READ = 1, EMULATOR_WRITE = 2, EMULATOR_UPDATE = 3 };

extern "C" {
int emulator_barrier(int vote, int value, int line);
unsigned long long emulator_warp(int collective, unsigned mask, unsigned long long value, int source, int line);
unsigned emulator_lane();
void emulator_fence();
void emulator_cluster_arrive(int line);
void emulator_cluster_wait(int line);
void emulator_cluster_fence();
void *emulator_place_in(void *own, unsigned block, int line);
// A copy to shared memory that goes on meanwhile, so many of whose bytes are zeros; what is asked for is put into a
// group, and all groups but so many of the last ones are waited for.
void emulator_copy(void *to, const void *from, unsigned long size, unsigned long zeros, int line);
void emulator_commit();
void emulator_await(unsigned long pending);
// Before an access that may be of memory which other threads use at the same time: atomic and volatile-like ones.
void emulator_atomic(const void *address, unsigned size, int access, int line);
}
