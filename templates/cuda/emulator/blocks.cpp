// Which block runs. Those that do not talk to each other run one after another, in an order that nothing may hang on.
// Where blocks have used atomic operations on global memory, some run at the same time, except in the ascending order: at
// a barrier, or when a block only waits, another goes on. In the descending order the newest goes first, so that it comes
// before what it must wait for.
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>

#include "state.h"

namespace emulator {

bool blocks_talk;
uint32_t news;

// A block that rests while others run.
struct Resident {
  uint32_t number, block_start, barrier_time, warp_time[MOST_THREADS / 32];
  uint32_t heard;  // the news when it last waited in vain
  bool waits;
  int slot, fibers_begun, idle_count;
  Thread threads[MOST_THREADS];
  Fiber fibers[MOST_THREADS], *idle[MOST_THREADS];
  char *shared, *history;
};

static Resident residents[MOST_BLOCKS];
static Resident *running[MOST_BLOCKS];  // by their age
static int running_count;

static void copy_shared(char *place, bool keep) {
  for (unsigned a = 0; a < launch->array_count; ++a) {
    const Array &array = launch->arrays[a];
    if (keep) memcpy(place, array.start, array.size); else memcpy(array.start, place, array.size);
    place += array.size;
  }
}

static bool keep(Resident &r) {
  r.number = block_number, r.block_start = block_start, r.barrier_time = barrier_time;
  memcpy(r.warp_time, warp_time, sizeof warp_time);
  r.fibers_begun = fibers_begun, r.idle_count = idle_count;
  memcpy(r.threads, threads, count * sizeof *threads);
  memcpy(r.fibers, fibers, fibers_begun * sizeof *fibers);
  memcpy(r.idle, idle, idle_count * sizeof *idle);
  uint64_t size = 0;
  for (unsigned a = 0; a < launch->array_count; ++a) size += launch->arrays[a].size;
  if (!(r.shared = (char *)malloc(size + 1)) || !(r.history = (char *)malloc(shared_history_size() + 1))) return false;
  copy_shared(r.shared, true);
  keep_shared_history(r.history);
  return true;
}

static void place_block(uint32_t number) {
  uint32_t index[3];
  unravel(block_number = number, launch->grid, index);
  blockIdx = {index[0], index[1], index[2]};
}

static bool resume(Resident &r) {
  place_block(r.number);
  block_start = r.block_start, barrier_time = r.barrier_time;
  memcpy(warp_time, r.warp_time, sizeof warp_time);
  fibers_begun = r.fibers_begun, idle_count = r.idle_count;
  memcpy(threads, r.threads, count * sizeof *threads);
  memcpy(fibers, r.fibers, fibers_begun * sizeof *fibers);
  memcpy(idle, r.idle, idle_count * sizeof *idle);
  copy_shared(r.shared, false);
  restore_shared_history(r.history);
  free(r.shared), free(r.history);
  r.shared = r.history = nullptr;
  slice_start = ++now;
  begin_turn();
  return begin_slice(false);
}

static bool begin(uint32_t number) {
  place_block(number);
  block_start = barrier_time = slice_start = ++now;
  begin_threads();
  begin_turn();
  for (unsigned a = 0; a < launch->array_count; ++a) memset(launch->arrays[a].start, 0xFF, launch->arrays[a].size);
  return begin_slice(true);
}

// The blocks in the order in which they begin.
static uint32_t block_of(uint64_t place, uint64_t blocks) {
  if (launch->order == DESCENDING) return (uint32_t)(blocks - 1 - place);
  if (launch->order != RANDOM) return (uint32_t)place;
  uint64_t step = launch->seed * 2654435761u % blocks;
  for (uint64_t a = ++step, b = blocks; b;) {  // until it has no divisor in common with the number of blocks
    const uint64_t rest = a % b;
    a = b, b = rest;
    if (!b && a > 1) a = ++step, b = blocks;
  }
  return (uint32_t)((place + 1) * step % blocks);
}

// Of the blocks that have begun, the one to go on; -1 for one that has not.
static int choose(bool more) {
  const bool room = more && running_count < MOST_BLOCKS;
  if (launch->order == RANDOM) {
    const int first = draw() % (running_count + room);
    if (first == running_count) return -1;
    for (int k = 0; k < running_count; ++k) {
      const int one = (first + k) % running_count;
      if (!running[one]->waits || running[one]->heard != news) return one;
    }
    return room ? -1 : first;
  }
  if (room) return -1;
  for (int k = running_count - 1; k >= 0; --k) {
    if (!running[k]->waits || running[k]->heard != news) return k;
  }
  return running_count - 1;
}

// Takes one block out of those that rest, or begins another, and runs it until it ends or others may go on.
static bool run_slice(uint64_t &next, uint64_t blocks) {
  const int chosen = running_count ? choose(next < blocks) : -1;
  Resident *self;
  if (chosen < 0) {
    int slot = 0;
    for (int k = 0; k < running_count; ++k) {
      if (running[k]->slot == slot) slot = slot + 1, k = -1;
    }
    self = residents + slot;
    self->slot = slot;
    block_stacks = stacks + slot * MOST_THREADS * STACK;
    if (!begin(block_of(next++, blocks))) return false;
    running[running_count++] = self;
  } else {
    self = running[chosen];
    block_stacks = stacks + self->slot * MOST_THREADS * STACK;
    if (!resume(*self)) return false;
  }
  for (;;) {
    const Pause pause = run_threads();
    if (pause == FOUND) return true;
    if (pause == ENDED) break;
    begin_turn();
    const bool others = blocks_talk && launch->order != ASCENDING && (running_count > 1 || next < blocks);
    if (!others || (pause == MET && launch->order == RANDOM && draw() % 2)) continue;
    self->waits = pause == POLLS, self->heard = news;
    return keep(*self);
  }
  for (int k = 0, kept = 0; k < running_count; ++k) {
    if (running[k] != self) running[kept++] = running[k];
  }
  --running_count;
  return true;
}

static bool prepare() {
  // Pages that no thread has used take no memory.
  const int flags = MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE;
  if (!stacks) {
    void *found = mmap(nullptr, MOST_BLOCKS * MOST_THREADS * STACK, PROT_READ | PROT_WRITE, flags, -1, 0);
    if (found == MAP_FAILED) return false;
    stacks = (char *)found;
  }
  for (int k = 0; k < running_count; ++k) {  // those of a launch that was ended
    free(running[k]->shared), free(running[k]->history);
    running[k]->shared = running[k]->history = nullptr;
  }
  running_count = 0;
  blocks_talk = false;
  news = 0;
  blockDim = {launch->block[0], launch->block[1], launch->block[2]};
  gridDim = {launch->grid[0], launch->grid[1], launch->grid[2]};
  count = launch->block[0] * launch->block[1] * launch->block[2];
  for (int t = 0; t < count; ++t) {
    uint32_t index[3];
    unravel(t, launch->block, index);
    threads[t].index = {index[0], index[1], index[2]};
  }
  random_state = launch->seed * 2654435761u | 1;
  if (!begin_checks() || !begin_traffic()) return false;
  launch_start = ++now;
  return true;
}

}  // namespace emulator

using namespace emulator;

extern "C" {

// Whether something was found, which ends the launch; -1 where there is no memory for it.
int emulator_launch(const Launch *given, Finding *found) {
  launch = given;
  finding = found;
  if (!prepare()) return -1;
  const uint64_t blocks = (uint64_t)launch->grid[0] * launch->grid[1] * launch->grid[2];
  for (uint64_t next = 0; (next < blocks || running_count) && !finding->kind;) {
    if (!run_slice(next, blocks)) return -1;
  }
  if (finding->kind) {
    finding->block[0] = blockIdx.x, finding->block[1] = blockIdx.y, finding->block[2] = blockIdx.z;
    const EmulatorIndex &t = threads[current].index;
    finding->thread[0] = t.x, finding->thread[1] = t.y, finding->thread[2] = t.z;
  }
  return finding->kind;
}
}
