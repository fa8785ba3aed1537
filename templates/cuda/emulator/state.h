// What the parts of the runtime share.
#pragma once

#include <sys/mman.h>

#include "launch.h"

extern "C" EmulatorIndex threadIdx, blockIdx, blockDim, gridDim;

namespace emulator {

struct Site {
  uint64_t address;  // in the code; 0 where the line is known
  int line;
};

constexpr int MOST_THREADS = 1024;
constexpr uint64_t STACK = 256 * 1024;

// Blocks that run at the same time, those that talk to each other.
constexpr int MOST_BLOCKS = 3;

// Why a block's threads come to rest: all have ended, met at a barrier, or only read what others are to write.
enum Pause { ENDED, MET, POLLS, FOUND };

enum State : uint8_t { FRESH, READY, YIELDED, AT_BARRIER, AT_WARP, DONE };

struct Fiber {
  void *saved;
  char *top;
};

struct Thread {
  Fiber *fiber;
  EmulatorIndex index;
  State state;
  int line;                // of what it waits at
  int collective, source;  // and what that is
  unsigned mask;
  unsigned long long value;  // given, then got
};

extern Thread threads[MOST_THREADS];
extern int count, current;
extern const Launch *launch;
extern Finding *finding;
extern Fiber fibers[MOST_THREADS], *idle[MOST_THREADS];
extern int fibers_begun, idle_count;
extern char *stacks, *block_stacks;
// A block runs in slices; others may run between.
extern uint32_t now, launch_start, block_start, slice_start, barrier_time, warp_time[MOST_THREADS / 32];
extern uint32_t block_number, random_state;
// Whether blocks of this launch have used memory that others use at the same time, and how often it was written.
extern bool blocks_talk;
extern uint32_t news;

// Called with each atomic or volatile read: a thread that only does such waits for another one.
void note_polling(Site site);
// Ends the launch. The finding is complete but for the block and thread that run.
[[noreturn]] void fail();
void unravel(uint32_t number, const uint32_t *extents, uint32_t *index);

uint32_t draw();
void begin_threads();
Pause run_threads();

// Makes room for so many elements, of zeros; pages that are not used take no memory.
template <typename T>
bool reserve(T *&place, uint64_t &size, uint64_t needed) {
  if (needed <= size) return true;
  if (place) munmap(place, size * sizeof(T));
  const int flags = MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE;
  place = (T *)mmap(nullptr, needed * sizeof(T), PROT_READ | PROT_WRITE, flags, -1, 0);
  if (place == MAP_FAILED) place = nullptr;
  size = place ? needed : 0;
  return place;
}

bool begin_checks();  // whether there is memory for them
bool begin_traffic();
void begin_turn();  // what the threads of a block do between two barriers
void count_traffic(const Region &region, const char *address, unsigned size, bool reads, bool writes);
bool begin_slice(bool first);
void note_fence();
// What is known of the arrays in shared memory, which is a block's own.
uint64_t shared_history_size();
void keep_shared_history(char *place);
void restore_shared_history(const char *place);

}  // namespace emulator
