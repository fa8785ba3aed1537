// How many bytes a launch reads from memory and writes there, past a cache: of sectors of 32 bytes, as a GPU moves them.
//
// What the threads of a block do between two barriers counts as done side by side: of a sector that several of them
// touch, the first touch counts. Touched again later by the same block, a sector is still in the cache if no more has
// been touched since than the block's share of the cache, which goes by its threads; the blocks of a cluster, which run
// together, have theirs together. What another block has touched,
// which on a GPU runs at about the same time, stays for longer.
#include "state.h"

namespace emulator {

constexpr uint64_t SECTOR = 32;

constexpr uint64_t BLOCKS = 16;  // how many blocks' shares of the cache keep what one of them has touched for the others

// When a sector was last touched and last written, in touches, and by which block.
struct Sector {
  uint64_t touched, written;
  uint32_t block;
};

static Sector *sectors;
static uint64_t sectors_size, touches, turn_start, own, all;  // the last two: sectors of the cache

bool begin_traffic() {
  if (!launch->traffic) return true;
  uint64_t needed = 0;
  for (unsigned r = 0; r < launch->region_count; ++r) {
    launch->regions[r].first_sector = needed;
    needed += launch->regions[r].size / SECTOR + 2;
  }
  const uint64_t share = launch->traffic->cache * count / SECTOR;
  own = share * launch->cluster, all = BLOCKS * share;
  touches += all + 1;  // nothing is left of what other launches touched
  return reserve(sectors, sectors_size, needed);
}

void begin_turn() { turn_start = touches + 1; }

static bool is_there(uint64_t time, uint32_t block) {
  return time >= turn_start || touches - time <= (block == block_number ? own : all);
}

void count_traffic(const Region &region, const char *address, unsigned size, bool reads, bool writes) {
  const uint64_t start = (uint64_t)region.start / SECTOR, first = (uint64_t)address / SECTOR - start;
  for (uint64_t s = first; s <= ((uint64_t)address + size - 1) / SECTOR - start; ++s) {
    Sector &sector = sectors[region.first_sector + s];
    if (reads && !is_there(sector.touched, sector.block)) launch->traffic->read += SECTOR;
    if (writes && !is_there(sector.written, sector.block)) launch->traffic->written += SECTOR;
    if (sector.touched < turn_start) sector.touched = ++touches, sector.block = block_number;
    if (writes) sector.written = sector.touched;
  }
}

}  // namespace emulator
