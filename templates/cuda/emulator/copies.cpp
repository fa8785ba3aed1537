// Copies to shared memory that go on while a thread does other things. One may read and write at any time until its
// thread has waited for it, and does so here as late as that: until then nothing may touch where it goes to, nor write
// where it comes from. Others may read it behind a barrier that comes after the wait.
#include <string.h>

#include "state.h"

namespace emulator {

// Of a thread: its first and its last one that are on their way, or 0; and groups that it has made of them.
struct Copies {
  uint32_t first, last, groups;
};

// Of a block.
struct Pool {
  Copies of[MOST_THREADS];
  Copy *copies;
  uint64_t size;
  uint32_t used, free;  // the last place that has been used, and the first of those that are free again
};
static Pool pools[MOST_BLOCKS], *own = pools;

bool take_copies(int slot, bool first) {
  own = pools + slot;
  if (!launch->checked || !first) return true;
  memset(own->of, 0, count * sizeof *own->of);
  own->used = own->free = 0;
  // No two on their way have a word in common, or else something is found.
  return reserve(own->copies, own->size, launch->shared_size / 4 + 2);
}

static void add(const Copy &copy) {
  uint32_t place = own->free;
  if (place) own->free = own->copies[place].next; else place = ++own->used;
  own->copies[place] = copy;
  Copies &self = own->of[current];
  (self.first ? own->copies[self.last].next : self.first) = place;
  self.last = place;
}

static void move(const Copy &copy) {
  memcpy(copy.to, copy.from, copy.read);
  memset(copy.to + copy.read, 0, copy.size - copy.read);
}

void thread_ends() {
  const Copies &self = own->of[current];
  if (!launch->checked || !self.first) return;
  const Copy &copy = own->copies[self.first];
  finding->of_block = 0;
  finding->value = copy.group < self.groups;
  report(LEFT, copy.to, copy.size, EMULATOR_WRITE, Site{0, copy.line}, copy.array);
}

}  // namespace emulator

using namespace emulator;

extern "C" {

void emulator_copy(void *to, const void *from, uint64_t size, uint64_t zeros, int line) {
  const bool fits = (size == 4 || size == 8 || size == 16) && zeros <= size;
  Copy copy = {(char *)to, (const char *)from, (uint32_t)size, fits ? (uint32_t)(size - zeros) : 0, line};
  if (!launch->checked) return move(copy);
  if (!fits) {
    finding->value = (int64_t)(zeros > size ? zeros : size);
    report(zeros > size ? COPY_ZEROS : COPY_SIZE, to, copy.size, EMULATOR_WRITE, Site{0, line}, -1);
  }
  copy.group = own->of[current].groups;
  check_copy(copy);
  add(copy);
}

void emulator_commit() { ++own->of[current].groups; }

// Waits for all groups but the last ones.
void emulator_await(uint64_t pending) {
  Copies &self = own->of[current];
  while (launch->checked && self.first) {
    const uint32_t place = self.first;
    const Copy copy = own->copies[place];
    if (self.groups - copy.group <= pending) return;
    check_landing(copy);
    move(copy);
    self.first = copy.next;
    own->copies[place].next = own->free;
    own->free = place;
  }
}
}
