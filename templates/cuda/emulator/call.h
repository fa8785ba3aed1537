// How the runtime gets into the kernels of a unit: a function of one signature for each, and where things lie.
#pragma once

#include <utility>

template <class... P, size_t... I>
EMULATOR_DEVICE void emulator_call(void (*kernel)(P...), void **args, std::index_sequence<I...>) {
  kernel(*(P *)args[I]...);
}
template <class... P>
EMULATOR_DEVICE void emulator_call(void (*kernel)(P...), void **args) {
  emulator_call(kernel, args, std::index_sequence_for<P...>{});
}

#define EMULATOR_EXPORT extern "C" __attribute__((visibility("default"), no_sanitize("thread", "undefined")))
#define EMULATOR_ENTRY(kernel) \
  EMULATOR_EXPORT void emulate_##kernel(void **args) { emulator_call(kernel, args); }

#define EMULATOR_PLACES                                                                     \
  extern "C" __attribute__((visibility("hidden"))) char __ehdr_start[], _end[];             \
  extern "C" thread_local char emulator_probe;                                              \
  thread_local char emulator_probe;                                                         \
  EMULATOR_EXPORT void emulator_places(char **places) {                                     \
    places[0] = &emulator_probe, places[1] = __ehdr_start, places[2] = _end;                \
  }
