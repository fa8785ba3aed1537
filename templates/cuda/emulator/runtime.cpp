// Runs the threads of a block in turn on one thread of the host; `blocks.cpp` says which block.
//
// Threads are called one after another on one stack. One that blocks keeps the stack, and the next goes on with
// another: there are as many stacks as threads that wait.
#include <string.h>

#include "state.h"
#include "switch.h"

extern "C" {
EmulatorIndex threadIdx, blockIdx, blockDim, gridDim;
}

namespace emulator {

Thread threads[MOST_THREADS];
int count, current;
const Launch *launch;
Finding *finding;
char *stacks, *block_stacks;
uint32_t now, launch_start, block_start, slice_start, barrier_time, warp_time[MOST_THREADS / 32];
uint32_t block_number;

Fiber fibers[MOST_THREADS], *idle[MOST_THREADS];
int fibers_begun, idle_count;
static void *scheduler;
static int sequence[MOST_THREADS], cursor, limit;
uint32_t random_state;

uint32_t draw() {
  random_state ^= random_state << 13;
  random_state ^= random_state >> 17;
  return random_state ^= random_state << 5;
}

void unravel(uint32_t number, const uint32_t *extents, uint32_t *index) {
  index[0] = number % extents[0];
  index[1] = number / extents[0] % extents[1];
  index[2] = number / extents[0] / extents[1];
}

void fail() {
  const EmulatorIndex &t = threads[current].index;
  finding->block[0] = blockIdx.x, finding->block[1] = blockIdx.y, finding->block[2] = blockIdx.z;
  finding->thread[0] = t.x, finding->thread[1] = t.y, finding->thread[2] = t.z;
  void *abandoned;
  emulator_switch(&abandoned, scheduler);
  __builtin_unreachable();
}

void rest(State state) {
  Thread &self = threads[current];
  self.state = state;
  emulator_switch(&self.fiber->saved, scheduler);
}

// Reads of a thread in a row before others get a turn, and turns of a block without any other news.
constexpr int MOST_READS = 100, MOST_TURNS = 100000;
static int reads_in_a_row, turns_in_vain;

void note_polling(Site site) {
  if (++reads_in_a_row < MOST_READS) return;
  reads_in_a_row = 0;
  if (++turns_in_vain > MOST_TURNS) {
    finding->kind = POLLING, finding->line = site.line, finding->site = site.address;
    fail();
  }
  rest(YIELDED);
}

// A fiber calls threads that have not begun, as they come in the sequence, until one blocks or none is left.
static void work() {
  Fiber *const self = idle[--idle_count];
  for (;;) {
    while (cursor < limit && threads[sequence[cursor]].state == FRESH) {
      current = sequence[cursor++];
      threads[current].fiber = self;
      threads[current].state = READY;
      threadIdx = threads[current].index;
      launch->kernel(launch->args);
      thread_ends();
      threads[current].state = DONE;
      thread_ended();
      reads_in_a_row = turns_in_vain = 0;
    }
    idle[idle_count++] = self;
    emulator_switch(&self->saved, scheduler);
    --idle_count;
  }
}

static void go_on_with_a_fresh_thread() {
  if (!idle_count) {
    Fiber &fiber = fibers[fibers_begun];
    fiber.top = block_stacks + ++fibers_begun * STACK;
    fiber.saved = emulator_stack(fiber.top, work);
    idle[idle_count++] = &fiber;
  }
  emulator_switch(&scheduler, idle[idle_count - 1]->saved);
}

// Lets every thread of the sequence run once, if it can; whether one could.
static bool run_sequence() {
  bool ran = false;
  for (cursor = 0; cursor < limit;) {
    Thread &next = threads[sequence[cursor]];
    if (next.state == FRESH) {
      ran = true;
      go_on_with_a_fresh_thread();
    } else if (next.state == READY) {
      ran = true;
      current = sequence[cursor++];
      threadIdx = next.index;
      reads_in_a_row = 0;
      emulator_switch(&scheduler, next.fiber->saved);
    } else {
      ++cursor;
    }
    if (finding->kind) return false;
  }
  return ran;
}

static void put_in_order(int first, int size) {
  limit = size;
  for (int k = 0; k < size; ++k) sequence[k] = launch->order == DESCENDING ? first + size - 1 - k : first + k;
  if (launch->order != RANDOM) return;
  for (int k = size - 1; k > 0; --k) {
    const int other = draw() % (k + 1), held = sequence[k];
    sequence[k] = sequence[other], sequence[other] = held;
  }
}

// Whether two lanes wait at the same place of the source for the same group.
static bool waits_with(const Thread &a, const Thread &b) {
  return a.state == b.state && a.line == b.line && a.mask == b.mask && a.collective == b.collective;
}

// What each lane of a group that has met gets.
static void exchange(int first, unsigned group, const Thread &leader) {
  unsigned long long given[32];
  unsigned ballot = 0;
  for (int lane = 0; lane < 32; ++lane) {
    if (!(group >> lane & 1)) continue;
    given[lane] = threads[first + lane].value;
    ballot |= (unsigned)(given[lane] & 1) << lane;
  }
  for (int lane = 0; lane < 32; ++lane) {
    if (!(group >> lane & 1)) continue;
    Thread &t = threads[first + lane];
    if (leader.collective == EMULATOR_BALLOT || leader.collective == EMULATOR_ACTIVE) t.value = ballot;
    if (leader.collective == EMULATOR_SHUFFLE && t.source >= 0) {
      if (!(group >> t.source & 1)) {
        current = first + lane;
        finding->kind = LANE, finding->line = t.line, finding->value = t.source;
        return;
      }
      t.value = given[t.source];
    }
    if (leader.collective == EMULATOR_MATCH) {
      unsigned alike = 0;
      for (int other = 0; other < 32; ++other) {
        if (group >> other & 1) alike |= (unsigned)(given[other] == given[lane]) << other;
      }
      t.value = alike;
    }
  }
}

// Lets groups of lanes of a warp go on, whose members that have not ended all wait at the same line.
static bool release_warp(int first) {
  bool released = false;
  unsigned alive = 0;
  const int lanes = count - first < 32 ? count - first : 32;
  for (int lane = 0; lane < lanes; ++lane) alive |= (unsigned)(threads[first + lane].state != DONE) << lane;
  for (int lane = 0; lane < lanes; ++lane) {
    const Thread &leader = threads[first + lane];
    if (leader.state != AT_WARP) continue;
    unsigned here = 0;
    for (int other = 0; other < lanes; ++other) here |= (unsigned)waits_with(threads[first + other], leader) << other;
    const unsigned group = leader.collective == EMULATOR_ACTIVE ? here : leader.mask & alive;
    if (group & ~here) continue;
    exchange(first, group, leader);
    if (finding->kind) return false;
    // Shuffles and votes exchange values; memory is in order after __syncwarp only.
    if (leader.collective == EMULATOR_SYNC) warp_time[first / 32] = ++now;
    for (int other = 0; other < lanes; ++other) {
      if (group >> other & 1) threads[first + other].state = READY;
    }
    released = true;
  }
  return released;
}

// Lets all threads go on if every one of them waits at the same barrier.
static bool release_barrier() {
  for (int t = 0; t < count; ++t) {
    if (threads[t].state != AT_BARRIER || threads[t].line != threads[0].line) return false;
  }
  unsigned long long true_count = 0;
  for (int t = 0; t < count; ++t) true_count += threads[t].value;
  for (int t = 0; t < count; ++t) {
    const int vote = threads[t].collective;
    threads[t].value = vote == EMULATOR_OR    ? true_count > 0
                       : vote == EMULATOR_AND ? true_count == (unsigned)count
                                              : true_count;
    threads[t].state = READY;
  }
  barrier_time = ++now;
  return true;
}

// No thread can go on: names the first that waits and the first that it waits for.
static void explain() {
  int waiting = 0, other = -1;
  bool in_warp = false;
  for (int t = count - 1; t >= 0; --t) {
    if (threads[t].state == AT_WARP) waiting = t, in_warp = true;
    if (threads[t].state == AT_BARRIER && !in_warp) waiting = t;
  }
  const Thread &w = threads[waiting];
  const int first = in_warp ? waiting / 32 * 32 : 0, size = in_warp ? 32 : count;
  for (int t = first; t < first + size && t < count && other < 0; ++t) {
    const Thread &o = threads[t];
    if (in_warp ? w.mask >> t % 32 & 1 && o.state != DONE && !waits_with(o, w)
                : o.state != AT_BARRIER || o.line != w.line) {
      other = t;
    }
  }
  current = waiting;
  finding->kind = in_warp ? WARP : BARRIER;
  finding->line = w.line;
  finding->access = w.collective;
  finding->value = in_warp ? w.mask : 0;
  if (other < 0) return;
  const Thread &o = threads[other];
  finding->other_line = o.state == DONE ? 0 : o.line;
  finding->other_access = o.state == DONE ? -1 : o.state == AT_BARRIER ? -2 : o.collective;
  finding->other_thread[0] = o.index.x, finding->other_thread[1] = o.index.y, finding->other_thread[2] = o.index.z;
}

void begin_threads() {
  for (int t = 0; t < count; ++t) {
    threads[t].state = FRESH;
    threads[t].arrivals = threads[t].waits = threads[t].fence_time = 0;
  }
  fibers_begun = idle_count = 0;
}

static Pause run_until_rest() {
  // Warps run ahead as far as they can, or all threads in a new order at each turn.
  const int group = launch->order == RANDOM ? count : 32, groups = (count + group - 1) / group;
  for (int g = 0; g < groups; ++g) {
    const int first = (launch->order == DESCENDING ? groups - 1 - g : g) * group;
    const int size = count - first < group ? count - first : group;
    for (bool going = true; going;) {
      put_in_order(first, size);
      going = run_sequence();
      if (finding->kind) return FOUND;
      for (int warp = first; warp < first + size; warp += 32) going |= release_warp(warp);
      if (finding->kind) return FOUND;
    }
  }
  int done = 0, yielded = 0;
  for (int t = 0; t < count; ++t) {
    done += threads[t].state == DONE;
    if (threads[t].state == YIELDED) threads[t].state = READY, ++yielded;
  }
  if (done == count) return ENDED;
  if (yielded) return POLLS;
  for (int t = 0; t < count; ++t) {
    if (threads[t].state == AT_CLUSTER) return AWAITS;
  }
  if (!release_barrier()) {
    explain();
    return FOUND;
  }
  turns_in_vain = 0;
  return MET;
}

Pause run_threads() {
  for (;;) {
    const Pause pause = run_until_rest();
    if (pause != AWAITS || !release_cluster()) return pause;
    turns_in_vain = 0;
  }
}

}  // namespace emulator

using namespace emulator;

extern "C" {

int emulator_barrier(int vote, int value, int line) {
  Thread &self = threads[current];
  self.line = line, self.collective = vote, self.value = value != 0;
  rest(AT_BARRIER);
  return (int)self.value;
}

unsigned long long emulator_warp(int collective, unsigned mask, unsigned long long value, int source, int line) {
  Thread &self = threads[current];
  if (!(mask >> current % 32 & 1)) {
    finding->kind = MASK, finding->line = line, finding->value = mask;
    fail();
  }
  self.line = line, self.collective = collective, self.mask = mask, self.value = value, self.source = source;
  rest(AT_WARP);
  return self.value;
}

unsigned emulator_lane() { return current % 32; }

void emulator_fence() { note_fence(); }
}
