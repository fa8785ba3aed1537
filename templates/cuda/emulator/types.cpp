// What g++ asks of before an access by an index or a pointer whose type tells what it may be.
#include <string.h>

#include "state.h"

using namespace emulator;

extern "C" {

// An index outside of an array whose size its type tells; see libubsan for the layouts.
struct TypeDescriptor {
  uint16_t kind, info;
  char name[1];
};
struct OutOfBounds {
  const char *file;
  uint32_t line, column;
  const TypeDescriptor *array, *index;
};
void __ubsan_handle_out_of_bounds(OutOfBounds *data, unsigned long index) {
  const unsigned bits = 1u << (data->index->info >> 1);
  const int shift = bits < 64 ? 64 - (int)bits : 0;
  const int64_t value = (int64_t)((uint64_t)index << shift);
  finding->value = data->index->info & 1 ? value >> shift : (int64_t)((uint64_t)value >> shift);
  strncpy(finding->text, data->array->name, sizeof finding->text - 1);
  report(INDEX, nullptr, 0, 0, Site{0, (int)data->line}, -1);
}

// A pointer to a type that needs more alignment than the address has, whichever part of it is accessed.
struct Mismatch {
  const char *file;
  uint32_t line, column;
  const TypeDescriptor *type;
  uint8_t log_alignment, kind;
};
void __ubsan_handle_type_mismatch_v1(Mismatch *data, void *address) {
  const int64_t alignment = 1ll << data->log_alignment;
  if ((uint64_t)address % alignment == 0) return;
  finding->value = alignment;
  strncpy(finding->text, data->type->name, sizeof finding->text - 1);
  report(POINTER, address, 0, data->kind == 1 ? EMULATOR_WRITE : EMULATOR_READ, Site{0, (int)data->line}, -1);
}
}
