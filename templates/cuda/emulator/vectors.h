// CUDA's vector types.
#pragma once

#define EMULATOR_VECTORS(type, name, align2, align4)                                                      \
  struct name##1 { type x; };                                                                             \
  struct alignas(align2) name##2 { type x, y; };                                                          \
  struct name##3 { type x, y, z; };                                                                       \
  struct alignas(align4) name##4 { type x, y, z, w; };                                                    \
  EMULATOR_INLINE name##1 make_##name##1(type x) { return {x}; }                                          \
  EMULATOR_INLINE name##2 make_##name##2(type x, type y) { return {x, y}; }                               \
  EMULATOR_INLINE name##3 make_##name##3(type x, type y, type z) { return {x, y, z}; }                    \
  EMULATOR_INLINE name##4 make_##name##4(type x, type y, type z, type w) { return {x, y, z, w}; }
EMULATOR_VECTORS(signed char, char, 2, 4)
EMULATOR_VECTORS(unsigned char, uchar, 2, 4)
EMULATOR_VECTORS(short, short, 4, 8)
EMULATOR_VECTORS(unsigned short, ushort, 4, 8)
EMULATOR_VECTORS(int, int, 8, 16)
EMULATOR_VECTORS(float, float, 8, 16)
EMULATOR_VECTORS(long long, longlong, 16, 16)
EMULATOR_VECTORS(unsigned long long, ulonglong, 16, 16)
EMULATOR_VECTORS(double, double, 16, 16)
#undef EMULATOR_VECTORS
// uint3 is what indices are.
struct uint1 { unsigned x; };
struct alignas(8) uint2 { unsigned x, y; };
struct alignas(16) uint4 { unsigned x, y, z, w; };
EMULATOR_INLINE uint1 make_uint1(unsigned x) { return {x}; }
EMULATOR_INLINE uint2 make_uint2(unsigned x, unsigned y) { return {x, y}; }
EMULATOR_INLINE uint3 make_uint3(unsigned x, unsigned y, unsigned z) { return {x, y, z}; }
EMULATOR_INLINE uint4 make_uint4(unsigned x, unsigned y, unsigned z, unsigned w) { return {x, y, z, w}; }
