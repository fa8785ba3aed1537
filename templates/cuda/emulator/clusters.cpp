// The barrier of a cluster, and places in the shared memory of its blocks.
#include "state.h"

namespace emulator {

Cluster cluster;

static void all_have_come() {
  cluster.times[cluster.phase++ % 2] = ++now;
  cluster.due = cluster.alive;
  ++news;
}

void thread_ended() {
  if (launch->cluster < 2) return;
  --cluster.alive;
  if (threads[current].arrivals == cluster.phase && --cluster.due == 0 && cluster.alive) all_have_come();
}

static bool may_pass(const Thread &t) { return t.state == AT_CLUSTER && t.arrivals <= cluster.phase; }

bool release_cluster() {
  bool released = false;
  for (int t = 0; t < count; ++t) {
    if (may_pass(threads[t])) threads[t].state = READY, released = true;
  }
  return released;
}

bool goes_on(const Resident &resident) {
  if (resident.pause != AWAITS) return true;
  for (int t = 0; t < count; ++t) {
    if (may_pass(resident.threads[t])) return true;
  }
  return false;
}

// Names the first thread of this block that waits, and the first of the cluster that it waits for.
void explain_cluster() {
  for (int t = count - 1; t >= 0; --t) {
    if (threads[t].state == AT_CLUSTER) current = t;
  }
  finding->kind = CLUSTER;
  finding->line = threads[current].line;
  for (int k = 0; k < running_count; ++k) {
    const bool self = running[k]->number == block_number;
    for (int t = 0; t < count; ++t) {
      const Thread &o = self ? threads[t] : running[k]->threads[t];
      if (o.state == DONE || o.arrivals > cluster.phase) continue;
      unravel(running[k]->number, launch->grid, finding->other_block);
      unravel(t, launch->block, finding->other_thread);
      finding->other_line = o.line;
      return;
    }
  }
}

static void misuse(Kind kind, int line, int64_t value = 0) {
  finding->kind = kind, finding->line = line, finding->value = value;
  fail();
}

}  // namespace emulator

using namespace emulator;

extern "C" {

void emulator_cluster_arrive(int line) {
  Thread &self = threads[current];
  if (self.arrivals > self.waits) misuse(ARRIVED, line);
  self.line = line;
  self.released[self.arrivals++ % 2] = self.fence_time;
  if (launch->cluster > 1 && --cluster.due == 0) all_have_come();
}

void emulator_cluster_wait(int line) {
  Thread &self = threads[current];
  if (self.arrivals == self.waits) misuse(NOT_ARRIVED, line);
  self.line = line;
  if (launch->cluster > 1 && cluster.phase < self.arrivals) rest(AT_CLUSTER);
  self.waits = self.arrivals;
}

void emulator_cluster_fence() { threads[current].fence_time = now++; }

void *emulator_place_in(void *own, unsigned block, int line) {
  if (block >= launch->cluster) misuse(NO_BLOCK, line, block);
  if (block == block_number % launch->cluster) return own;
  return resting(block) + ((char *)own - launch->shared);
}
}
