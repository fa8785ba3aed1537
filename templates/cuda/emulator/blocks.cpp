// Which block runs. Those that do not talk to each other run one after another, in an order that nothing may hang on.
// Where blocks have used atomic operations on global memory, some run at the same time, except in the ascending order: at
// a barrier, or when a block only waits, another goes on. In the descending order the newest goes first, so that it comes
// before what it must wait for.
//
// The blocks of a cluster run at the same time, and no others with them: one goes on when another waits at the barrier
// of the cluster. They stay until all have ended, since it is asked later what they had done.
#include <string.h>
#include <sys/mman.h>

#include "state.h"

namespace emulator {

bool blocks_talk;
uint32_t news;

Resident residents[MOST_BLOCKS], *running[MOST_BLOCKS];
int running_count;

static char *rest_places;
static uint64_t rest_size, rest_stride;

char *resting(int slot) {
  constexpr uint64_t page = 4096;  // the distance from multiples of it stays
  return rest_places + slot * rest_stride + (uint64_t)launch->shared % page;
}

static bool reserve_rest() {
  rest_stride = (launch->shared_size / 4096 + 2) * 4096;
  return reserve(rest_places, rest_size, MOST_BLOCKS * rest_stride);
}

static void copy_shared(char *place, bool keep) {
  for (unsigned a = 0; a < launch->array_count; ++a) {
    const Array &array = launch->arrays[a];
    char *const there = place + (array.start - launch->shared);
    if (keep) memcpy(there, array.start, array.size); else memcpy(array.start, there, array.size);
  }
}

static void keep(Resident &r) {
  r.number = block_number, r.block_start = block_start, r.barrier_time = barrier_time;
  memcpy(r.warp_time, warp_time, sizeof warp_time);
  r.fibers_begun = fibers_begun, r.idle_count = idle_count;
  memcpy(r.threads, threads, count * sizeof *threads);
  memcpy(r.fibers, fibers, fibers_begun * sizeof *fibers);
  memcpy(r.idle, idle, idle_count * sizeof *idle);
  copy_shared(resting(r.slot), true);
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
  copy_shared(resting(r.slot), false);
  slice_start = ++now;
  begin_turn();
  return take_history(r.slot, false) && take_copies(r.slot, false) && begin_slice(false);
}

static bool begin(Resident &r, uint32_t number) {
  place_block(number);
  r.number = number, r.ended = r.waits = false, r.pause = MET;
  block_start = barrier_time = slice_start = ++now;
  begin_threads();
  begin_turn();
  r.block_start = block_start;
  // What others of the cluster have written there before it began must not be there; it is copied as the block rests.
  for (unsigned a = 0; a < launch->array_count; ++a) memset(launch->arrays[a].start, 0xFF, launch->arrays[a].size);
  return take_history(r.slot, true) && take_copies(r.slot, true) && begin_slice(true);
}

// Blocks, or clusters, in the order in which they begin.
static uint32_t in_order(uint64_t place, uint64_t blocks) {
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

static uint32_t block_of(uint64_t place, uint64_t blocks) {
  const uint64_t size = launch->cluster;
  return (uint32_t)(in_order(place / size, blocks / size) * size + in_order(place % size, size));
}

static bool is_idle(const Resident &r) { return r.ended || (r.waits && r.heard == news) || !goes_on(r); }

// Of the blocks that have begun, the one to go on; -1 for one that has not.
static int choose(bool more) {
  const int most = launch->cluster > 1 ? (int)launch->cluster : TALKING;
  const bool room = more && running_count < most;
  if (launch->order == RANDOM) {
    const int first = draw() % (running_count + room);
    if (first == running_count) return -1;
    for (int k = 0; k < running_count; ++k) {
      const int one = (first + k) % running_count;
      if (!is_idle(*running[one])) return one;
    }
    if (room) return -1;
  }
  if (room) return -1;
  for (int k = running_count - 1; k >= 0; --k) {
    if (!is_idle(*running[k])) return k;
  }
  int last = running_count - 1;  // one that only reads what nobody writes
  while (last > 0 && (running[last]->ended || running[last]->pause == AWAITS)) --last;
  return last;
}

// Whether a block of the cluster other than the one that runs can go on, or has yet to begin.
static bool others_go_on(const Resident &self) {
  if (running_count < (int)launch->cluster) return true;
  for (int k = 0; k < running_count; ++k) {
    if (running[k] != &self && !running[k]->ended && goes_on(*running[k])) return true;
  }
  return false;
}

static void begin_cluster(uint32_t number) {
  cluster.first = number / launch->cluster * launch->cluster;
  cluster.phase = 0;
  cluster.alive = cluster.due = launch->cluster * count;
}

// Takes one block out of those that rest, or begins another, and runs it until it ends or others may go on.
static bool run_slice(uint64_t &next, uint64_t blocks) {
  const int chosen = running_count ? choose(next < blocks) : -1;
  Resident *self;
  if (chosen < 0) {
    const uint32_t number = block_of(next++, blocks);
    int slot = 0;
    for (int k = 0; k < running_count; ++k) {
      if (running[k]->slot == slot) slot = slot + 1, k = -1;
    }
    if (launch->cluster > 1) slot = number % launch->cluster;
    if (!running_count) begin_cluster(number);
    self = residents + slot;
    self->slot = slot;
    block_stacks = stacks + slot * MOST_THREADS * STACK;
    if (!begin(*self, number)) return false;
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
    if (pause == AWAITS && !others_go_on(*self)) return explain_cluster(), true;
    const bool together = launch->cluster > 1 && (pause != MET || launch->order == RANDOM);
    const bool talking = blocks_talk && launch->order != ASCENDING && (running_count > 1 || next < blocks);
    if (!(together || talking) || (pause == MET && launch->order == RANDOM && draw() % 2)) continue;
    self->waits = pause == POLLS, self->heard = news, self->pause = pause;
    return keep(*self), true;
  }
  if (launch->cluster > 1) {
    if (!check_end(self->slot)) return true;
    self->ended = true;
    keep(*self);
    bool all = running_count == (int)launch->cluster;
    for (int k = 0; k < running_count; ++k) all &= running[k]->ended;
    if (all) running_count = 0;
    return true;
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
  if (!begin_checks() || !begin_traffic() || !reserve_rest()) return false;
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
  if (finding->kind && finding->kind != ENDING) {  // which tells of a thread that ran before
    finding->block[0] = blockIdx.x, finding->block[1] = blockIdx.y, finding->block[2] = blockIdx.z;
    const EmulatorIndex &t = threads[current].index;
    finding->thread[0] = t.x, finding->thread[1] = t.y, finding->thread[2] = t.z;
  }
  return finding->kind;
}
}
