// Atomic operations, and loads and stores past the nearest cache. Blocks run one after another and threads in turn,
// so each is an ordinary operation that the runtime is told of.
#pragma once

template <typename T, typename F>
EMULATOR_DEVICE T emulator_update(T *place, F update, int line, int access = EMULATOR_UPDATE) {
  emulator_atomic(place, sizeof(T), access, line);
  const T before = *place;
  *place = update(before);
  return before;
}

// The second parameter takes whatever converts to the first one's type.
template <typename T>
struct EmulatorSame {
  typedef T type;
};
#define EMULATOR_ATOMIC(name, expression)                                                              \
  template <typename T>                                                                                \
  EMULATOR_INLINE T name(T *place, typename EmulatorSame<T>::type value, EMULATOR_LINE) {              \
    return emulator_update(place, [=](T old) { return (T)(expression); }, line);                       \
  }                                                                                                    \
  template <typename T>                                                                                \
  EMULATOR_INLINE T name##_block(T *place, typename EmulatorSame<T>::type value, EMULATOR_LINE) {      \
    return emulator_update(place, [=](T old) { return (T)(expression); }, line);                       \
  }
EMULATOR_ATOMIC(atomicAdd, old + value)
EMULATOR_ATOMIC(atomicSub, old - value)
EMULATOR_ATOMIC(atomicMin, value < old ? value : old)
EMULATOR_ATOMIC(atomicMax, value > old ? value : old)
EMULATOR_ATOMIC(atomicAnd, old & value)
EMULATOR_ATOMIC(atomicOr, old | value)
EMULATOR_ATOMIC(atomicXor, old ^ value)
EMULATOR_ATOMIC(atomicInc, old >= value ? 0 : old + 1)
EMULATOR_ATOMIC(atomicDec, old == 0 || old > value ? value : old - 1)
#undef EMULATOR_ATOMIC

// What stood there before may be anything.
template <typename T>
EMULATOR_INLINE T atomicExch(T *place, typename EmulatorSame<T>::type value, EMULATOR_LINE) {
  return emulator_update(place, [=](T) { return value; }, line, EMULATOR_WRITE);
}
template <typename T>
EMULATOR_INLINE T atomicCAS(
    T *place, typename EmulatorSame<T>::type expected, typename EmulatorSame<T>::type value, EMULATOR_LINE) {
  return emulator_update(place, [=](T old) { return old == expected ? value : old; }, line);
}

template <typename T>
EMULATOR_DEVICE T emulator_load(const T *place, int line) {
  emulator_atomic(place, sizeof(T), EMULATOR_READ, line);
  return *place;
}
template <typename T>
EMULATOR_DEVICE void emulator_store(T *place, T value, int line) {
  emulator_atomic(place, sizeof(T), EMULATOR_WRITE, line);
  *place = value;
}
template <typename T>
EMULATOR_INLINE T __ldcg(const T *place, EMULATOR_LINE) { return emulator_load(place, line); }
template <typename T>
EMULATOR_INLINE T __ldcv(const T *place, EMULATOR_LINE) { return emulator_load(place, line); }
template <typename T>
EMULATOR_INLINE void __stcg(T *place, typename EmulatorSame<T>::type value, EMULATOR_LINE) {
  emulator_store(place, value, line);
}
template <typename T>
EMULATOR_INLINE void __stwt(T *place, typename EmulatorSame<T>::type value, EMULATOR_LINE) {
  emulator_store(place, value, line);
}
// Ordinary loads and stores with a hint for the caches.
template <typename T>
EMULATOR_INLINE T __ldg(const T *place) { return *place; }
template <typename T>
EMULATOR_INLINE T __ldcs(const T *place) { return *place; }
template <typename T>
EMULATOR_INLINE T __ldca(const T *place) { return *place; }
template <typename T>
EMULATOR_INLINE void __stcs(T *place, typename EmulatorSame<T>::type value) { *place = value; }
