// bfloat16: the upper half of a float32.
#pragma once

#include "half.h"

EMULATOR_INLINE float emulator_from_bfloat16(unsigned short x) { return __uint_as_float((unsigned)x << 16); }

EMULATOR_INLINE unsigned short emulator_to_bfloat16(float x) {
  const unsigned bits = __float_as_uint(x);
  return x != x ? 0x7fff : (bits + 0x7fff + (bits >> 16 & 1)) >> 16;
}

EMULATOR_HALF(__nv_bfloat16, bfloat16, emulator_from_bfloat16, emulator_to_bfloat16)
typedef __nv_bfloat162 nv_bfloat162;
typedef __nv_bfloat16 nv_bfloat16;
EMULATOR_INLINE __nv_bfloat16 __double2bfloat16(double x) { return __nv_bfloat16((float)x); }
