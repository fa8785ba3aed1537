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

// Blocks that run at the same time: those of a cluster, or so many that talk to each other.
constexpr int MOST_BLOCKS = 8, TALKING = 3;

// Why a block's threads come to rest: all have ended, met at a barrier, or only read what others are to write, or some
// wait at the barrier of their cluster.
enum Pause { ENDED, MET, POLLS, AWAITS, FOUND };

enum State : uint8_t { FRESH, READY, YIELDED, AT_BARRIER, AT_WARP, AT_CLUSTER, DONE };

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
  // Of the barrier of its cluster: how often it has come there and has waited; up to when others saw what it had done
  // as it came there the last two times; and when it was that it had them see it.
  uint32_t arrivals, waits, released[2], fence_time;
};

// A copy to shared memory that goes on while its thread does other things.
struct Copy {
  char *to;
  const char *from;
  uint32_t size, read;  // bytes that it writes; that it reads, in place of the others it writes zeros
  int line;
  uint32_t asked;  // when
  uint32_t group;  // of its thread
  uint32_t next;   // of its thread's: its place
  int array;       // that it writes to
};

// A block that rests while others run.
struct Resident {
  uint32_t number, block_start, barrier_time, warp_time[MOST_THREADS / 32];
  uint32_t heard;  // the news when it last waited in vain
  bool waits, ended;
  Pause pause;
  int slot, fibers_begun, idle_count;
  Thread threads[MOST_THREADS];
  Fiber fibers[MOST_THREADS], *idle[MOST_THREADS];
};

// The barrier of the cluster that runs.
struct Cluster {
  uint32_t first;       // its first block
  uint32_t phase;       // how often all have come
  uint32_t alive, due;  // threads that have not ended, and those of them that are still to come
  uint32_t times[2];    // when all had come, the last two times
};

extern Cluster cluster;
extern Resident residents[MOST_BLOCKS];
extern Resident *running[MOST_BLOCKS];  // by their age
extern int running_count;
// Where the shared memory of a block that rests is: as it lies in its own, at a distance for each slot.
char *resting(int slot);

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
[[noreturn]] void report(Kind kind, const void *address, unsigned size, int access, Site site, int region);
void unravel(uint32_t number, const uint32_t *extents, uint32_t *index);

uint32_t draw();
void begin_threads();
Pause run_threads();
void rest(State state);  // the thread that runs, until others have let it go on
void thread_ends();  // looks at what it leaves behind
void thread_ended();
bool release_cluster();  // lets threads go on that waited at the barrier of the cluster; whether there are some
bool goes_on(const Resident &resident);  // a block that waited at the barrier of the cluster
void explain_cluster();                  // no block of a cluster can go on

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
// What is known of the arrays in shared memory of the block in a slot.
bool take_history(int slot, bool first);
// Copies of the block in a slot.
bool take_copies(int slot, bool first);
void check_copy(Copy &copy);           // as a thread asks for it: what comes between then and the end is found
void check_landing(const Copy &copy);  // as the thread has waited for it
bool check_end(int slot);  // whether none of the cluster may still access the shared memory of a block that ends

}  // namespace emulator
