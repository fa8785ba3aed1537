// IEEE binary16.
#pragma once

#include "half.h"

EMULATOR_INLINE float emulator_from_half(unsigned short x) {
  const unsigned sign = (x & 0x8000u) << 16, size = x & 0x7fffu;
  if (size >= 0x7c00) return __uint_as_float(sign | 0x7f800000u | (size & 1023) << 13);
  if (size >= 0x0400) return __uint_as_float(sign | ((size << 13) + (112u << 23)));
  return __uint_as_float(sign | __float_as_uint((float)size * 0x1p-24f));
}

// Rounded to nearest even; by the addition, where the result is subnormal.
EMULATOR_INLINE unsigned short emulator_to_half(float x) {
  const unsigned bits = __float_as_uint(x), sign = bits >> 16 & 0x8000u, size = bits & 0x7fffffffu;
  if (size > 0x7f800000u) return 0x7fff;
  if (size >= 0x477ff000u) return sign | 0x7c00;
  if (size >= 0x38800000u) return sign | (size + 0xfff + (size >> 13 & 1) - (112u << 23)) >> 13;
  return sign | (__float_as_uint(__uint_as_float(size) + 0.5f) - __float_as_uint(0.5f));
}

EMULATOR_HALF(__half, half, emulator_from_half, emulator_to_half)
typedef __half half;
typedef __half2 half2;
EMULATOR_INLINE __half __double2half(double x) { return __half((float)x); }
