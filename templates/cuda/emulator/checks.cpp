// What is looked at before every access to memory. g++ puts a call before each; their names are those of its own
// runtime for finding data races, in whose place this one stands.
#include <stdlib.h>
#include <string.h>

#include "state.h"

namespace emulator {

#define FAST static inline __attribute__((always_inline))

enum Access : int { READS = 1, WRITES = 2, ATOMIC = 4, ALIGNED = 8, OF_COPY = 16 };

// By one of a thread's own instructions, or by a copy, which may be on its way.
enum Writing : uint8_t { PLAIN, ATOMICALLY, COMING, LANDED };

// Who has read since the last write: one thread, lanes of one warp, or threads of several warps or blocks.
enum Readers : uint8_t { ONE, LANES, MANY };

static Cell *cells;
static uint64_t cells_size;
static unsigned last_region, last_array;
static uint32_t copies_coming;  // that are on their way

// What is known of a block's shared memory.
struct History {
  Cell *cells;
  uint64_t size;
  uint64_t *granules;  // of each array the bytes of one cell
  uint64_t granules_size;
  // By others of its cluster: how often one had come to the cluster's barrier that accessed it later than most, and it.
  uint32_t arrivals;
  Finding last;
};
static History histories[MOST_BLOCKS], *own = histories;

// What an access in shared memory is of.
struct Shared {
  History *history;
  uint32_t start;     // when the block began that it belongs to
  uint32_t of_block;  // 1 + its rank in the cluster, where it is another one
};
// What a block's fences have done: until when others see what it had done; when it last read what may tell of others; and
// until when they had done what it sees since, which a fence behind such a read makes it see.
struct Fences {
  uint32_t seen, heard, sees;
};
static Fences *fences;
static uint64_t fences_size;
// Which block ran from when on, in order.
struct Slice {
  uint32_t start, block;
};
static Slice *slices;
static uint64_t slices_size, slice_count;

// Forgets everything, before the clock comes to its end.
static void start_anew() {
  if (cells) munmap(cells, cells_size * sizeof(Cell));
  for (History &h : histories) {
    if (h.cells) munmap(h.cells, h.size * sizeof(Cell));
    h.cells = nullptr, h.size = 0;
  }
  cells = nullptr;
  cells_size = now = 0;
}

bool begin_checks() {
  last_region = last_array = 0;
  copies_coming = 0;
  if (!launch->checked) return true;
  if (now > 1u << 31) start_anew();
  uint64_t needed = 0;
  for (unsigned r = 0; r < launch->region_count; ++r) {
    Region &region = launch->regions[r];
    region.first_cell = needed;
    needed += (region.size + region.granule - 1) / region.granule;
  }
  const uint64_t blocks = (uint64_t)launch->grid[0] * launch->grid[1] * launch->grid[2];
  slice_count = 0;
  return reserve(cells, cells_size, needed) && reserve(fences, fences_size, blocks);
}

bool take_history(int slot, bool first) {
  own = histories + slot;
  if (!launch->checked || !first) return true;
  if (!reserve(own->cells, own->size, launch->shared_size)) return false;
  if (!reserve(own->granules, own->granules_size, launch->array_count + 1)) return false;
  for (unsigned a = 0; a < launch->array_count; ++a) own->granules[a] = (uint64_t)launch->arrays[a].start % 4 ? 1 : 4;
  own->arrivals = 0;
  return true;
}

bool begin_slice(bool first) {
  if (!launch->checked) return true;
  if (slice_count == slices_size) {
    const uint64_t size = slices_size ? 2 * slices_size : 1024;
    Slice *const more = (Slice *)realloc(slices, size * sizeof *slices);
    if (!more) return false;
    slices = more, slices_size = size;
  }
  slices[slice_count++] = {slice_start, block_number};
  if (first) fences[block_number] = {};
  return true;
}

void note_fence() {
  if (!launch->checked) return;
  Fences &own = fences[block_number];
  own.seen = now++;
  own.sees = own.heard;
}

static __attribute__((noinline)) uint32_t block_at(uint32_t time) {
  uint64_t low = 0, high = slice_count - 1;
  while (low < high) {
    const uint64_t middle = (low + high + 1) / 2;
    if (slices[middle].start <= time) low = middle; else high = middle - 1;
  }
  return slices[low].block;
}

// Whether it was another block that ran at a time of this launch.
FAST bool of_another(uint32_t time) {
  return time < slice_start && (time < block_start || block_at(time) != block_number);
}

static void place(Site site, int32_t &line, uint64_t &address) {
  line = site.line;
  address = site.address;
}

static Site site_of(uint32_t kept) {
  const int line = (int)kept;
  return line < 0 ? Site{0, -line} : Site{(uint64_t)launch->image + kept, 0};
}

static uint32_t kept_of(Site site) {
  return site.line ? (uint32_t)-site.line : (uint32_t)(site.address - (uint64_t)launch->image);
}

void report(Kind kind, const void *address, unsigned size, int access, Site site, int region) {
  finding->kind = kind;
  place(site, finding->line, finding->site);
  finding->address = (uint64_t)address;
  finding->size = size;
  finding->access = access;
  finding->region = region;
  fail();
}

[[noreturn]] static void report_race(
    const void *address, unsigned size, int access, Site site, int region, uint32_t time, uint32_t thread, int other,
    uint32_t other_site, Kind kind = RACE) {
  const uint32_t block = block_at(time);
  unravel(block, launch->grid, finding->other_block);
  unravel(thread, launch->block, finding->other_thread);
  finding->other_access = other;
  place(site_of(other_site), finding->other_line, finding->other_site);
  report(kind, address, size, access, site, region);
}

// Whether another block has let others see what it had done by that time, and this one has heard of it and sees it.
static __attribute__((noinline)) bool seen_by_others(uint32_t time) {
  return time <= fences[block_at(time)].seen && time < fences[block_number].sees;
}

static const Resident *resident_of(uint32_t block) {
  for (int k = 0; k < running_count; ++k) {
    if (running[k]->number == block) return running[k];
  }
  return nullptr;
}

static bool of_cluster(uint32_t block) { return block / launch->cluster == block_number / launch->cluster; }

// Whether a thread of the cluster had what it did by that time seen, and came to the barrier that this one waited at.
static __attribute__((noinline)) bool seen_by_cluster(uint32_t time, uint32_t thread) {
  const Thread &self = threads[current];
  const uint32_t block = block_at(time);
  if (!self.waits || !of_cluster(block)) return false;
  const Resident *const other = block == block_number ? nullptr : resident_of(block);
  const Thread &t = other ? other->threads[thread] : threads[thread];
  return t.arrivals >= self.waits && time <= t.released[(self.waits - 1) % 2];
}

// Whether the barrier was met since: of reads by several threads only the last one's thread is known.
static __attribute__((noinline)) bool before_cluster(uint32_t time) {
  const uint32_t waits = threads[current].waits;
  return waits && of_cluster(block_at(time)) && time < cluster.times[(waits - 1) % 2];
}

// Whether what a thread did at that time is sure to have been before what this thread does now; `start` is when the
// memory began: a block's with the block, buffers with the launch.
FAST bool ordered(uint32_t start, uint32_t time, uint32_t thread) {
  if (time < start) return true;
  if (of_another(time)) return seen_by_others(time) || (launch->cluster > 1 && seen_by_cluster(time, thread));
  if (thread == (uint32_t)current || time < barrier_time) return true;
  if (thread / 32 == (uint32_t)current / 32 && time < warp_time[current / 32]) return true;
  return launch->cluster > 1 && seen_by_cluster(time, thread);
}

FAST bool reads_ordered(uint32_t start, const Cell &cell) {
  if (cell.read < start) return true;
  const bool other = of_another(cell.read);
  if (cell.readers == MANY) {
    if (other ? seen_by_others(cell.read) : cell.read < barrier_time) return true;
    return launch->cluster > 1 && before_cluster(cell.read) && seen_by_cluster(cell.read, cell.reader);
  }
  if (cell.readers == LANES && cell.read >= barrier_time && !other) {
    return cell.reader / 32 == current / 32 && cell.read < warp_time[current / 32];
  }
  return ordered(start, cell.read, cell.reader);
}

FAST void note_read(uint32_t start, Cell &cell, bool atomic, Site site) {
  if (reads_ordered(start, cell)) {
    cell.readers = ONE;  // what comes after this read comes after those before it too
  } else {
    cell.readers = !of_another(cell.read) && cell.readers != MANY && cell.reader / 32 == current / 32 ? LANES : MANY;
  }
  cell.reader = current;
  cell.read_atomic = atomic;
  cell.read = now;
  cell.read_site = kept_of(site);
}

static int written_by(const Cell &cell) {
  return WRITES | (cell.write_kind == ATOMICALLY ? ATOMIC : cell.write_kind == LANDED ? OF_COPY : 0);
}

FAST void check_race(
    uint32_t start, Cell &cell, const void *address, unsigned size, int access, Site site, int region) {
  const bool atomic = access & ATOMIC;
  if (!(atomic && cell.write_kind == ATOMICALLY) && !ordered(start, cell.written, cell.writer)) {
    // After an atomic operation of another block a plain one is taken to have waited for it.
    if (!(cell.write_kind == ATOMICALLY && of_another(cell.written))) {
      report_race(
          address, size, access, site, region, cell.written, cell.writer, written_by(cell), cell.write_site);
    }
  }
  if (access & WRITES) {
    if (!(atomic && cell.read_atomic) && !reads_ordered(start, cell) && !(cell.read_atomic && of_another(cell.read))) {
      const int other = READS | (cell.read_atomic ? ATOMIC : 0);
      report_race(address, size, access, site, region, cell.read, cell.reader, other, cell.read_site);
    }
    cell.written = now;
    cell.writer = current;
    cell.write_kind = atomic ? ATOMICALLY : PLAIN;
    cell.write_site = kept_of(site);
  } else {
    note_read(start, cell, atomic, site);
  }
}

// A granule is a power of two, by which a number is divided often.
FAST unsigned bits_of(uint64_t granule) { return __builtin_ctzll(granule); }

static Cell *cells_of(const Shared &shared, const Array &array) {
  return shared.history->cells + (array.start - launch->shared);
}

// From a cell for four bytes to one for each, when the first access of fewer comes.
static void split_cells(const Shared &shared, const Array &array) {
  Cell *cell = cells_of(shared, array);
  for (uint64_t c = array.size / 4; c-- > 0;) {
    const Cell whole = cell[c];
    for (int part = 0; part < 4; ++part) cell[4 * c + part] = whole;
  }
  shared.history->granules[&array - launch->arrays] = 1;
}

// Whether a copy is on its way to what is accessed.
static __attribute__((noinline)) void check_coming(
    uint32_t start, const Cell *cell, const Cell *end, const void *address, unsigned size, int access, Site site) {
  for (; cell < end; ++cell) {
    if (cell->write_kind != COMING || cell->written < start) continue;
    report_race(
        address, size, access, site, (int)last_array, cell->written, cell->writer, WRITES, cell->write_site,
        ON_ITS_WAY);
  }
}

// An access at an address as the block has it to which the shared memory belongs.
static void check_shared(const Shared &shared, char *address, unsigned size, int access, Site site) {
  finding->of_block = shared.of_block;
  unsigned a = last_array;
  if (a >= launch->array_count || address < launch->arrays[a].start ||
      address + size > launch->arrays[a].start + launch->arrays[a].size) {
    for (a = 0; a < launch->array_count; ++a) {
      const Array &array = launch->arrays[a];
      if (address >= array.start && address + size <= array.start + array.size) break;
    }
    if (a == launch->array_count) {
      for (unsigned g = 0; g < launch->guard_count && !(access & OF_COPY); ++g) {
        if ((uint64_t)(address - launch->guards[g].start) < launch->guards[g].size) return;
      }
      report(SHARED_BOUNDS, address, size, access, site, -1);
    }
    last_array = a;
  }
  if (access & ALIGNED && (uint64_t)address % size) report(MISALIGNED, address, size, access, site, (int)a);
  const Array &array = launch->arrays[a];
  const uint64_t offset = address - array.start;
  if (shared.history->granules[a] > 1 && (offset | size) % 4) split_cells(shared, array);
  const unsigned bits = bits_of(shared.history->granules[a]);
  Cell *const first = cells_of(shared, array) + (offset >> bits), *const end = first + (size >> bits);
  if (copies_coming) check_coming(shared.start, first, end, address, size, access, site);
  for (Cell *cell = first; cell < end; ++cell) {
    if (access & READS && cell->written < shared.start) report(UNINITIALISED, address, size, access, site, (int)a);
    check_race(shared.start, *cell, address, size, access, site, (int)a);
  }
}

// All that is known of what a copy writes, which has been looked at.
template <typename F>
static void over_cells(const Shared &shared, const Copy &copy, F change) {
  const Array &array = launch->arrays[copy.array];
  const unsigned bits = bits_of(shared.history->granules[copy.array]);
  Cell *const first = cells_of(shared, array) + ((uint64_t)(copy.to - array.start) >> bits);
  for (Cell *cell = first; cell < first + (copy.size >> bits); ++cell) change(*cell);
}

// An access of the shared memory of another block of the cluster: it has begun, and will not end before.
static __attribute__((noinline)) void check_distant(int slot, char *address, unsigned size, int access, Site site) {
  const Thread &self = threads[current];
  const Resident *const other = resident_of(cluster.first + slot);
  History &history = histories[slot];
  finding->of_block = slot + 1;
  if (!self.waits || !other) report(NOT_BEGUN, address, size, access, site, -1);
  if (other->ended) report(ENDING, address, size, access, site, -1);
  check_shared({&history, other->block_start, (uint32_t)slot + 1}, address, size, access, site);
  if (self.arrivals + 1 > history.arrivals) {
    history.arrivals = self.arrivals + 1;
    history.last = {};
    history.last.kind = ENDING, history.last.size = size, history.last.access = access;
    place(site, history.last.line, history.last.site);
    history.last.of_block = slot + 1;
    history.last.block[0] = blockIdx.x, history.last.block[1] = blockIdx.y, history.last.block[2] = blockIdx.z;
    history.last.thread[0] = self.index.x, history.last.thread[1] = self.index.y, history.last.thread[2] = self.index.z;
  }
}

bool check_end(int slot) {
  if (!launch->checked) return true;
  uint32_t waits = 0;
  for (int t = 0; t < count; ++t) waits = threads[t].waits > waits ? threads[t].waits : waits;
  if (waits >= histories[slot].arrivals) return true;
  *finding = histories[slot].last;
  return false;
}

static bool find_region(char *address) {
  unsigned low = 0, high = launch->region_count;
  while (low < high) {  // the last that starts at the address or before it
    const unsigned middle = (low + high) / 2;
    if (launch->regions[middle].start <= address) low = middle + 1; else high = middle;
  }
  if (!low) return false;
  last_region = low - 1;
  return true;
}

static void check_global(char *address, unsigned size, int access, Site site) {
  const Region *region = launch->regions + last_region;
  const auto inside = [&] { return address >= region->start && address + size <= region->start + region->size; };
  if (!launch->region_count || !inside()) {
    if (address >= launch->image && address < launch->image_end) return;
    const bool found = find_region(address);
    region = launch->regions + last_region;
    if (!found || !inside()) report(BOUNDS, address, size, access, site, found ? (int)last_region : -1);
  }
  const int number = (int)last_region;
  if (access & ALIGNED && (uint64_t)address % size) report(MISALIGNED, address, size, access, site, number);
  if (access & WRITES && !region->writable) report(READ_ONLY, address, size, access, site, number);
  const uint64_t offset = address - region->start;
  if (region->owners) {
    uint16_t *owners = region->owners + offset;
    const uint16_t own = (uint16_t)region->owner;
    for (unsigned i = 0; i < size; ++i) {
      if (access & READS && owners[i] != own) {
        finding->value = owners[i];
        report(owners[i] ? TAKEN : UNWRITTEN, address, size, access, site, number);
      }
      if (access & WRITES) owners[i] = own;
    }
  }
  if (launch->traffic) count_traffic(*region, address, size, access & READS, access & WRITES);
  const unsigned bits = bits_of(region->granule);
  Cell *const first = cells + region->first_cell + (offset >> bits);
  Cell *const last = cells + region->first_cell + ((offset + size - 1) >> bits);
  for (Cell *cell = first; cell <= last; ++cell) check_race(launch_start, *cell, address, size, access, site, number);
}

// Whether it is a thread's own.
static bool is_of_stacks(const char *address) {
  return (uint64_t)(address - stacks) < MOST_BLOCKS * MOST_THREADS * STACK;
}

// Whether it is shared memory of a block of the cluster, this one or one that rests.
static bool is_shared(const char *address) {
  if ((uint64_t)(address - launch->shared) < launch->shared_size) return true;
  for (int slot = 0; launch->cluster > 1 && slot < (int)launch->cluster; ++slot) {
    if ((uint64_t)(address - resting(slot)) < launch->shared_size) return true;
  }
  return false;
}

static void check(const void *where, unsigned size, int access, Site site) {
  char *address = (char *)where;
  if (is_of_stacks(address)) return;
  if (!launch || !size) return;
  if ((uint64_t)(address - launch->shared) < launch->shared_size) {
    return check_shared({own, block_start, 0}, address, size, access, site);
  }
  if (launch->cluster > 1) {
    for (int slot = 0; slot < (int)launch->cluster; ++slot) {
      const uint64_t offset = address - resting(slot);
      if (offset < launch->shared_size) return check_distant(slot, launch->shared + offset, size, access, site);
    }
    finding->of_block = 0;
  }
  check_global(address, size, access, site);
  if (!(access & ATOMIC)) return;
  blocks_talk = true;
  if (access & WRITES) ++news;
  if (!(access & READS)) return;
  note_polling(site);
  fences[block_number].heard = now;  // it reads behind its rest
}

void check_copy(Copy &copy) {
  const Site site{0, copy.line};
  finding->of_block = 0;
  char *const from = (char *)copy.from;
  const bool within = (uint64_t)(copy.to - launch->shared) < launch->shared_size;
  if (!within) report(COPY_TO, copy.to, copy.size, WRITES, site, -1);
  if (copy.read) {
    if (is_of_stacks(from) || is_shared(from)) report(COPY_FROM, from, copy.read, READS, site, -1);
    check(from, copy.read, READS, site);
    if ((uint64_t)from % copy.size) report(MISALIGNED, from, copy.size, READS, site, (int)last_region);
  }
  check(copy.to, copy.size, WRITES | ALIGNED | OF_COPY, site);
  copy.array = (int)last_array;
  over_cells({own, block_start, 0}, copy, [](Cell &cell) { cell.write_kind = COMING; });
  ++copies_coming;
  memset(copy.to, 0xFF, copy.size);
  copy.asked = now++;
}

// It may have read before what was written meanwhile, or behind it.
static void check_source(const Copy &copy, const Region &region, int number) {
  const Site site{0, copy.line};
  const unsigned bits = bits_of(region.granule);
  const uint64_t offset = copy.from - region.start, last = (offset + copy.read - 1) >> bits;
  for (uint64_t c = offset >> bits; c <= last; ++c) {
    Cell &cell = cells[region.first_cell + c];
    if (cell.written > copy.asked) {
      report_race(
          copy.from, copy.read, READS, site, number, cell.written, cell.writer, written_by(cell), cell.write_site,
          CHANGED);
    }
    check_race(launch_start, cell, copy.from, copy.read, READS, site, number);
  }
}

void check_landing(const Copy &copy) {
  finding->of_block = 0;
  if (copy.read && find_region((char *)copy.from)) {  // or else it is a constant of the code
    const Region &region = launch->regions[last_region];
    if (copy.from < region.start + region.size) check_source(copy, region, (int)last_region);
  }
  over_cells({own, block_start, 0}, copy, [&](Cell &cell) {
    cell.write_kind = LANDED;
    cell.written = now;
  });
  --copies_coming;
}

}  // namespace emulator

using namespace emulator;

#define HERE (Site{(uint64_t)__builtin_return_address(0) - 1, 0})
#define CHECKS(size)                                                                                           \
  void __tsan_read##size(void *p) { check(p, size, READS | ALIGNED, HERE); }                                   \
  void __tsan_write##size(void *p) { check(p, size, WRITES | ALIGNED, HERE); }                                 \
  void __tsan_unaligned_read##size(void *p) { check(p, size, READS, HERE); }                                   \
  void __tsan_unaligned_write##size(void *p) { check(p, size, WRITES, HERE); }                                 \
  void __tsan_volatile_read##size(void *p) { check(p, size, READS | ATOMIC | ALIGNED, HERE); }                 \
  void __tsan_volatile_write##size(void *p) { check(p, size, WRITES | ATOMIC | ALIGNED, HERE); }               \
  void __tsan_unaligned_volatile_read##size(void *p) { check(p, size, READS | ATOMIC, HERE); }                 \
  void __tsan_unaligned_volatile_write##size(void *p) { check(p, size, WRITES | ATOMIC, HERE); }

extern "C" {
CHECKS(1)
CHECKS(2)
CHECKS(4)
CHECKS(8)
CHECKS(16)
void __tsan_read_range(void *p, unsigned long size) { check(p, (unsigned)size, READS, HERE); }
void __tsan_write_range(void *p, unsigned long size) { check(p, (unsigned)size, WRITES, HERE); }
void __tsan_vptr_update(void *, void *) {}
void __tsan_func_entry(void *) {}
void __tsan_func_exit() {}
void __tsan_init() {}

void emulator_atomic(const void *address, unsigned size, int access, int line) {
  if (launch->checked) return check(address, size, access | ATOMIC | ALIGNED, Site{0, line});
  if (access != WRITES) note_polling(Site{0, line});
}
}
