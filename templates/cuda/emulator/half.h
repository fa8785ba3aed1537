// What 16-bit floats have in common: they are stored as their bits and computed in float32.
#pragma once

#define EMULATOR_HALF(T, name, to_float, from_float)                                       \
  struct alignas(2) T {                                                                    \
    unsigned short bits;                                                                   \
    T() = default;                                                                         \
    T(float x) : bits(from_float(x)) {}                                                    \
    T(double x) : bits(from_float((float)x)) {}                                            \
    T(int x) : bits(from_float((float)x)) {}                                               \
    operator float() const { return to_float(bits); }                                      \
    T &operator+=(T x) { return *this = T((float)*this + (float)x); }                      \
    T &operator-=(T x) { return *this = T((float)*this - (float)x); }                      \
    T &operator*=(T x) { return *this = T((float)*this * (float)x); }                      \
    T &operator/=(T x) { return *this = T((float)*this / (float)x); }                      \
  };                                                                                       \
  struct alignas(4) T##2 {                                                                 \
    T x, y;                                                                                \
  };                                                                                       \
  EMULATOR_INLINE T operator+(T a, T b) { return T((float)a + (float)b); }                 \
  EMULATOR_INLINE T operator-(T a, T b) { return T((float)a - (float)b); }                 \
  EMULATOR_INLINE T operator*(T a, T b) { return T((float)a * (float)b); }                 \
  EMULATOR_INLINE T operator/(T a, T b) { return T((float)a / (float)b); }                 \
  EMULATOR_INLINE T operator-(T a) { return T(-(float)a); }                                \
  EMULATOR_INLINE bool operator<(T a, T b) { return (float)a < (float)b; }                 \
  EMULATOR_INLINE bool operator>(T a, T b) { return (float)a > (float)b; }                 \
  EMULATOR_INLINE bool operator<=(T a, T b) { return (float)a <= (float)b; }               \
  EMULATOR_INLINE bool operator>=(T a, T b) { return (float)a >= (float)b; }               \
  EMULATOR_INLINE bool operator==(T a, T b) { return (float)a == (float)b; }               \
  EMULATOR_INLINE bool operator!=(T a, T b) { return (float)a != (float)b; }               \
  EMULATOR_INLINE float __##name##2float(T x) { return to_float(x.bits); }                 \
  EMULATOR_INLINE T __float2##name(float x) { return T(x); }                               \
  EMULATOR_INLINE T __float2##name##_rn(float x) { return T(x); }                          \
  EMULATOR_INLINE float2 __##name##22float2(T##2 x) { return {(float)x.x, (float)x.y}; }   \
  EMULATOR_INLINE T##2 __float22##name##2_rn(float2 x) { return {T(x.x), T(x.y)}; }        \
  EMULATOR_INLINE T##2 __floats2##name##2_rn(float x, float y) { return {T(x), T(y)}; }    \
  EMULATOR_INLINE T __ushort_as_##name(unsigned short x) { return emulator_bits<T>(x); }   \
  EMULATOR_INLINE unsigned short __##name##_as_ushort(T x) { return x.bits; }              \
  EMULATOR_INLINE T __hfma(T a, T b, T c) { return T(fmaf((float)a, (float)b, (float)c)); }
