// What the parts of the runtime share.
#pragma once

#include "launch.h"

namespace emulator {

struct Site {
  uint64_t address;  // in the code; 0 where the line is known
  int line;
};

constexpr int MOST_THREADS = 1024;
constexpr uint64_t STACK = 256 * 1024;

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
extern char *stacks;
extern uint32_t now, launch_start, block_start, barrier_time, warp_time[MOST_THREADS / 32];
extern uint32_t block_number;

// Called with each atomic or volatile read: a thread that only does such waits for another one.
void note_polling(Site site);
// Ends the launch. The finding is complete but for the block and thread that run.
[[noreturn]] void fail();
void unravel(uint32_t number, const uint32_t *extents, uint32_t *index);

bool begin_checks();  // whether there is memory for them
void begin_block();
void note_fence();

}  // namespace emulator
