// A launch and what is found in it; `tracec/runtime/emulator_library.py` mirrors these.
#pragma once

#include <stdint.h>

#include "runtime.h"

enum Order : int { ASCENDING, DESCENDING, RANDOM };

// What is known of some bytes of a buffer or an array in shared memory: the last write, and the reads since.
struct Cell {
  uint32_t written, read;            // when
  uint32_t write_site, read_site;    // where in the code: a distance from the image's start, or minus a line
  uint16_t writer, reader;           // threads of their blocks
  uint8_t write_kind, read_atomic;   // how it was written: see `Writing`
  uint8_t readers;                   // who has read since: see `Readers`
};

// A buffer of a launch.
struct Region {
  char *start;
  uint64_t size;
  uint32_t granule;   // bytes of one cell
  uint32_t writable;
  uint16_t *owners;   // for each byte, which value wrote it last; null where everything may be read
  uint64_t owner;     // the value that this buffer stands for
  uint64_t first_cell, first_sector;  // the runtime's own
};

// What goes past a cache; see traffic.cpp.
struct Traffic {
  uint64_t cache;  // its bytes for each thread of a block
  uint64_t read, written;
};

// An array in shared memory.
struct Array {
  char *start;
  uint64_t size;
};

struct Launch {
  void (*kernel)(void **args);
  void **args;
  uint32_t grid[3], block[3];
  int32_t order;
  uint32_t seed;
  uint32_t checked;
  uint32_t region_count, array_count, guard_count;
  uint32_t cluster;  // blocks of a cluster, along x; 1 where there are none
  Region *regions;  // by address
  Array *arrays;    // by address
  Array *guards;    // what the compiler keeps beside arrays of types with constructors
  char *shared;     // where thread-local memory of the code lies
  uint64_t shared_size;
  char *image, *image_end;  // and the code itself with its constants
  Traffic *traffic;         // null where it is not counted
};

enum Kind : int {
  NOTHING, BOUNDS, READ_ONLY, UNWRITTEN, TAKEN, SHARED_BOUNDS, UNINITIALISED, MISALIGNED, RACE, BARRIER, WARP, MASK,
  LANE, INDEX, POINTER, POLLING, CLUSTER, ARRIVED, NOT_ARRIVED, NO_BLOCK, NOT_BEGUN, ENDING,
  ON_ITS_WAY, CHANGED, LEFT, COPY_SIZE, COPY_ZEROS, COPY_TO, COPY_FROM,
};

struct Finding {
  int32_t kind;
  int32_t line;        // 0 where the site tells
  uint64_t site;       // an address in the code
  uint64_t address;
  uint32_t size;
  int32_t access;      // bits: 1 reads, 2 writes, 4 atomic, 16 of a copy
  uint32_t block[3], thread[3];
  int32_t other_line;
  uint64_t other_site;
  int32_t other_access;
  uint32_t other_block[3], other_thread[3];  // or ~0 in the first place: unknown
  int32_t region;      // index of a buffer or an array; -1 where there is none
  uint32_t of_block;   // 1 + the rank in its cluster of the block whose shared memory it is; 0 for a block's own
  int64_t value;       // what else there is to say: an index, a lane
  char text[64];       // a type
};
