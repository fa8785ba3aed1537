// What kernels call; a source holds the definitions that it uses, which blank lines keep apart.

// N neighbouring elements, read or written by one instruction.
template <typename T, int N>
struct alignas(sizeof(T) * N) Pack {
  T at[N];
};

template <int N, typename T>
__device__ __forceinline__ Pack<T, N> load_pack(const T *first) {
  return *reinterpret_cast<const Pack<T, N> *>(first);
}

template <int N, typename T>
__device__ __forceinline__ void store_pack(T *first, const Pack<T, N> &pack) {
  *reinterpret_cast<Pack<T, N> *>(first) = pack;
}

// What a kernel begins with that may be launched before the one in front of it has ended: it waits for that, and for all
// that it wrote. From here on the one behind it may be launched.
__device__ __forceinline__ void follow() {
#if defined(__CUDACC__) && __CUDA_ARCH__ >= 900
  asm volatile("griddepcontrol.wait;" ::: "memory");
  asm volatile("griddepcontrol.launch_dependents;" ::: "memory");
#endif
}

#if defined(__CUDACC__)  // the emulator has its own
// N bytes for this thread alone, on their way to shared memory without a register.
template <int N>
__device__ __forceinline__ void copy_ahead(void *to, const void *from) {
#if __CUDA_ARCH__ >= 800
  const unsigned place = (unsigned)__cvta_generic_to_shared(to);
  const unsigned long long source = __cvta_generic_to_global(from);
  if constexpr (N == 16)
    asm volatile("cp.async.cg.shared.global [%0], [%1], 16;" : : "r"(place), "l"(source) : "memory");
  else
    asm volatile("cp.async.ca.shared.global [%0], [%1], %2;" : : "r"(place), "l"(source), "n"(N) : "memory");
#else
  *static_cast<Pack<unsigned, N / 4> *>(to) = *static_cast<const Pack<unsigned, N / 4> *>(from);
#endif
}
#endif

#if defined(__CUDACC__)
// Waits for what this thread has asked for.
__device__ __forceinline__ void await_copies() {
#if __CUDA_ARCH__ >= 800
  asm volatile("cp.async.wait_all;" ::: "memory");
#endif
}
#endif

// Words of a later row, asked for at this very place: what need not be coherent a compiler asks for behind barriers.
template <int N>
__device__ __forceinline__ Pack<unsigned, N> load_ahead(const void *first) {
#if defined(__CUDACC__)
  Pack<unsigned, N> w;
  const unsigned long long from = __cvta_generic_to_global(first);
  if constexpr (N == 4)
    asm volatile("ld.global.v4.u32 { %0, %1, %2, %3}, [%4];"
                 : "=r"(w.at[0]), "=r"(w.at[1]), "=r"(w.at[2]), "=r"(w.at[3]) : "l"(from));
  if constexpr (N == 2) asm volatile("ld.global.v2.u32 { %0, %1}, [%2];" : "=r"(w.at[0]), "=r"(w.at[1]) : "l"(from));
  if constexpr (N == 1) asm volatile("ld.global.u32 %0, [%1];" : "=r"(w.at[0]) : "l"(from));
  return w;
#else
  return load_pack<N>(static_cast<const unsigned *>(first));
#endif
}

// Whole words until here: a compiler that sees what is in them carries their halves from row to row.
template <typename T>
__device__ __forceinline__ void take_words(T &value, Pack<unsigned, sizeof(T) / 4> words) {
#if defined(__CUDACC__)
  #pragma unroll
  for (int n = 0; n < (int)(sizeof(T) / 4); ++n) asm volatile("" : "+r"(words.at[n]));
#endif
  memcpy(&value, &words, sizeof(T));
}

// Lets a compiler know nothing of a value any more: what is computed of it is computed anew, not kept in registers.
template <typename T>
__device__ __forceinline__ void forget(T &value) {
#if defined(__CUDACC__)
  if constexpr (sizeof(T) % 4 == 0) {
    unsigned words[sizeof(T) / 4];
    memcpy(words, &value, sizeof(T));
    #pragma unroll
    for (int n = 0; n < (int)(sizeof(T) / 4); ++n) asm volatile("" : "+r"(words[n]));
    memcpy(&value, words, sizeof(T));
  }
#endif
}

// A pack's element as a float, whose upper half it is: one instruction, where to take it out and to convert it are two.
template <int N>
__device__ __forceinline__ float widened_bfloat16(const Pack<__nv_bfloat16, N> &pack, int e) {
  unsigned word;
  memcpy(&word, &pack.at[e & ~1], sizeof(word));
  return __uint_as_float(e % 2 ? word & 0xffff0000u : word << 16);
}

__device__ __forceinline__ float infinity_f32() { return __int_as_float(0x7f800000); }

__device__ __forceinline__ double infinity_f64() { return __longlong_as_double(0x7ff0000000000000LL); }

__device__ __forceinline__ float nan_f32() { return __int_as_float(0x7fc00000); }

__device__ __forceinline__ double nan_f64() { return __longlong_as_double(0x7ff8000000000000LL); }

// Whether a number is the place first + e, places being less than 2³¹: what it asks of 64 bits is the same for all e.
__device__ __forceinline__ bool is_at(long long number, int first, int e) {
  const unsigned place = number == (int)number ? (unsigned)number : 0x80000000u;
  return place - (unsigned)first == (unsigned)e;
}

// NaN wins.
template <typename T>
__device__ __forceinline__ T maximum(T a, T b) {
  return a > b || a != a ? a : b;
}
#if defined(__CUDACC__) && __CUDA_ARCH__ >= 800  // one instruction, where the emulator takes the three above
template <>
__device__ __forceinline__ float maximum(float a, float b) {
  float found;
  asm("max.NaN.f32 %0, %1, %2;" : "=f"(found) : "f"(a), "f"(b));
  return found;
}
#endif

template <typename T>
__device__ __forceinline__ T minimum(T a, T b) {
  return a < b || a != a ? a : b;
}
#if defined(__CUDACC__) && __CUDA_ARCH__ >= 800  // one instruction, where the emulator takes the three above
template <>
__device__ __forceinline__ float minimum(float a, float b) {
  float found;
  asm("min.NaN.f32 %0, %1, %2;" : "=f"(found) : "f"(a), "f"(b));
  return found;
}
#endif

template <typename T>
__device__ __forceinline__ T magnitude(T x) {
  return x < 0 ? -x : x;
}

template <typename T>
__device__ __forceinline__ bool is_nan(T x) {
  return x != x;
}

// NaN stays NaN.
template <typename T>
__device__ __forceinline__ T sign(T x) {
  return x > 0 ? T(1) : x < 0 ? T(-1) : x != x ? x : T(0);
}

// exp(x) for what is rounded to 16 bits: the square of its root, so that a root that is flushed to zero is of a square
// that is zero anyway. x times log2(e) / 2, rounded, is what it is off by.
__device__ __forceinline__ float short_exp(float x) {
  const float power = x * 0.72134752f;
#if defined(__CUDACC__)
  float root;
  asm("ex2.approx.ftz.f32 %0, %1;" : "=f"(root) : "f"(power));
#else
  const float root = exp2f(power);
#endif
  return root * root;
}

__device__ __forceinline__ float sigmoid_f32(float x) { return 1.0f / (1.0f + expf(-x)); }

__device__ __forceinline__ double sigmoid_f64(double x) { return 1.0 / (1.0 + exp(-x)); }

// log(exp(a) + exp(b)); two equal infinities have no distance to subtract.
__device__ __forceinline__ float logaddexp_f32(float a, float b) {
  const float apart = a == b ? 0.0f : -fabsf(a - b);
  return maximum(a, b) + log1pf(expf(apart));
}

__device__ __forceinline__ double logaddexp_f64(double a, double b) {
  const double apart = a == b ? 0.0 : -fabs(a - b);
  return maximum(a, b) + log1p(exp(apart));
}

// Rounds down; dividing an integer by zero gives zero, and by -1 wraps around.
template <typename T>
__device__ __forceinline__ T floor_div(T a, T b) {
  if (b == 0) return 0;
  if (T(-1) < 0 && b == T(-1)) return -a;
  return a / b - (a % b != 0 && (a < 0) != (b < 0));
}

// The remainder has the sign of the divisor.
template <typename T>
__device__ __forceinline__ T floor_mod(T a, T b) {
  if (b == 0 || (T(-1) < 0 && b == T(-1))) return 0;
  const T r = a % b;
  return r != 0 && (r < 0) != (b < 0) ? r + b : r;
}

// The remainder has the sign of the dividend.
template <typename T>
__device__ __forceinline__ T int_fmod(T a, T b) {
  return b == 0 || (T(-1) < 0 && b == T(-1)) ? T(0) : T(a % b);
}

__device__ __forceinline__ float floor_mod_f32(float a, float b) {
  const float r = fmodf(a, b);
  return r == 0 ? copysignf(0.0f, b) : (r < 0) != (b < 0) ? r + b : r;
}

__device__ __forceinline__ double floor_mod_f64(double a, double b) {
  const double r = fmod(a, b);
  return r == 0 ? copysign(0.0, b) : (r < 0) != (b < 0) ? r + b : r;
}

__device__ __forceinline__ float floor_div_f32(float a, float b) {
  if (b == 0) return a / b;
  const float r = fmodf(a, b);
  float q = (a - r) / b;
  if (r != 0 && (r < 0) != (b < 0)) q -= 1;
  const float whole = floorf(q);
  return q == 0 ? copysignf(0.0f, a / b) : q - whole > 0.5f ? whole + 1 : whole;
}

__device__ __forceinline__ double floor_div_f64(double a, double b) {
  if (b == 0) return a / b;
  const double r = fmod(a, b);
  double q = (a - r) / b;
  if (r != 0 && (r < 0) != (b < 0)) q -= 1;
  const double whole = floor(q);
  return q == 0 ? copysign(0.0, a / b) : q - whole > 0.5 ? whole + 1 : whole;
}

// Powers of integers wrap around; negative exponents round toward zero.
template <typename T>
__device__ __forceinline__ T int_pow(T x, T n) {
  if (n < 0) return x == 1 ? T(1) : x == T(-1) ? (n & 1 ? x : T(1)) : T(0);
  T y = 1;
  for (; n; n >>= 1, x *= x) {
    if (n & 1) y *= x;
  }
  return y;
}

template <typename T>
__device__ __forceinline__ T shift_left(T x, T n) {
  return (unsigned long long)n < 8 * sizeof(T) ? T(x << n) : T(0);
}

template <typename T>
__device__ __forceinline__ T shift_right(T x, T n) {
  return (unsigned long long)n < 8 * sizeof(T) ? T(x >> n) : x < 0 ? T(-1) : T(0);
}

// Philox-4x32-10: the words of counter (element / 4, draw) under key seed are those of four neighbouring elements.
__device__ __forceinline__ void philox_block(long long seed, long long draw, long long element, unsigned *words) {
  const unsigned long long block = (unsigned long long)element / 4;
  unsigned c0 = (unsigned)block, c1 = (unsigned)(block >> 32);
  unsigned c2 = (unsigned)draw, c3 = (unsigned)((unsigned long long)draw >> 32);
  unsigned k0 = (unsigned)seed, k1 = (unsigned)((unsigned long long)seed >> 32);
#pragma unroll
  for (int round = 0; round < 10; ++round) {
    const unsigned low0 = 0xD2511F53u * c0, high0 = __umulhi(0xD2511F53u, c0);
    const unsigned low1 = 0xCD9E8D57u * c2, high1 = __umulhi(0xCD9E8D57u, c2);
    c0 = high1 ^ c1 ^ k0;
    c2 = high0 ^ c3 ^ k1;
    c1 = low1;
    c3 = low0;
    k0 += 0x9E3779B9u;
    k1 += 0xBB67AE85u;
  }
  words[0] = c0;
  words[1] = c1;
  words[2] = c2;
  words[3] = c3;
}

__device__ __forceinline__ unsigned philox(long long seed, long long draw, long long element) {
  unsigned words[4];
  philox_block(seed, draw, element, words);
  return element & 2 ? (element & 1 ? words[3] : words[2]) : (element & 1 ? words[1] : words[0]);
}

// The order of floats as that of unsigned integers: zeros of both signs are alike, NaN is the largest.
__device__ __forceinline__ unsigned rising_f32(float x) {
  const unsigned bits = (unsigned)__float_as_int(x + 0.0f);
  return x != x ? 0xffffffffu : bits >> 31 ? ~bits : bits | 0x80000000u;
}

__device__ __forceinline__ unsigned long long rising_f64(double x) {
  const unsigned long long bits = (unsigned long long)__double_as_longlong(x + 0.0);
  return x != x ? ~0ULL : bits >> 63 ? ~bits : bits | 1ULL << 63;
}

// What such an integer's float was, where it was neither zero nor NaN; of one whose last bits are gone.
__device__ __forceinline__ float original_f32(unsigned key, int gone) {
  const unsigned highest = 0x80000000u >> gone;
  return __int_as_float((int)((key & highest ? key ^ highest : ~key) << gone));
}

__device__ __forceinline__ double original_f64(unsigned long long key) {
  return __longlong_as_double((long long)(key >> 63 ? key ^ 1ULL << 63 : ~key));
}

// The sum of the values of the threads before this one in a block, whose warps have a place each.
__device__ __forceinline__ unsigned sum_before(unsigned own, unsigned *warp_sums) {
  const unsigned lane = threadIdx.x % 32, warp = threadIdx.x / 32;
  unsigned sum = own;
#pragma unroll
  for (int step = 1; step < 32; step *= 2) {
    const unsigned other = __shfl_up_sync(0xffffffffu, sum, step);
    if (lane >= step) sum += other;
  }
  if (lane == 31) warp_sums[warp] = sum;
  __syncthreads();
  for (unsigned left = 0; left < warp; ++left) sum += warp_sums[left];
  __syncthreads();  // they are written again
  return sum - own;
}

// Where a rank is among elements of which so many have each value of a digit: that value, how many elements have lower ones
// or were before all of these, and how many have it. Each thread of the block looks after some neighbouring values.
template <int each>
__device__ __forceinline__ void find_rank(const unsigned *counts, unsigned before, unsigned rank, unsigned *warp_sums, unsigned *found) {
  unsigned own = 0, value = threadIdx.x * each;
#pragma unroll
  for (int n = 0; n < each; ++n) own += counts[value + n];
  before += sum_before(own, warp_sums);
  if (before <= rank && rank - before < own) {
    while (rank - before >= counts[value]) before += counts[value++];
    found[0] = value;
    found[1] = before;
    found[2] = counts[value];
  }
  __syncthreads();
}

// How many of some rising numbers are not above one.
template <typename Key>
__device__ __forceinline__ unsigned not_above(const Key *__restrict__ keys, unsigned count, Key key) {
  unsigned first = 0;
  while (count > 0) {
    const unsigned half = count / 2;
    if (keys[first + half] <= key) {
      first += half + 1;
      count -= half + 1;
    } else {
      count = half;
    }
  }
  return first;
}

#if defined(__CUDACC__)  // the emulator has its own
// Says that this thread has come to the barrier of its cluster. Whatever it has done may still be on its way.
__device__ __forceinline__ void cluster_arrive() { asm volatile("barrier.cluster.arrive.relaxed.aligned;" ::: "memory"); }
#endif

#if defined(__CUDACC__)
// Waits until all threads of the cluster that have not ended have come to the barrier.
__device__ __forceinline__ void cluster_wait() { asm volatile("barrier.cluster.wait.acquire.aligned;" ::: "memory"); }
#endif

#if defined(__CUDACC__)
// What this thread has done before is seen by whoever waits for it to arrive at the barrier of the cluster.
__device__ __forceinline__ void cluster_fence() { asm volatile("fence.acq_rel.cluster;" ::: "memory"); }
#endif

#if defined(__CUDACC__)
// Where a variable in shared memory is in a block of the cluster.
template <typename T>
__device__ __forceinline__ T *place_in(T *own, unsigned block) {
  T *there;
  asm("mapa.u64 %0, %1, %2;" : "=l"(there) : "l"(own), "r"(block));
  return there;
}
#endif

// A value for other blocks, which wait for it: four bytes of it and a mark that they are there are one word, written at
// once, so that no word has to come before another.
template <typename T>
__device__ __forceinline__ void post(volatile unsigned long long *board, T value) {
  constexpr int words = (sizeof(T) + 3) / 4;
  unsigned parts[words] = {};
  memcpy(parts, &value, sizeof(T));
#pragma unroll
  for (int n = 0; n < words; ++n) board[n] = 1ULL << 32 | parts[n];
}

template <typename T>
__device__ __forceinline__ T awaited(const volatile unsigned long long *board) {
  constexpr int words = (sizeof(T) + 3) / 4;
  unsigned parts[words];
#pragma unroll
  for (int n = 0; n < words; ++n) {
    unsigned long long word = board[n];
    while (word >> 32 == 0) {
      __nanosleep(40);
      word = board[n];
    }
    parts[n] = (unsigned)word;
  }
  T value;
  memcpy(&value, parts, sizeof(T));
  return value;
}

// The lanes of a warp whose numbers have the same last bits. A compiler takes seven instructions a bit for it.
template <int bits>
__device__ __forceinline__ unsigned lanes_alike(unsigned number) {
  unsigned alike = 0xffffffffu;
#pragma unroll
  for (int bit = 0; bit < bits; ++bit) {
#if defined(__CUDACC__)
    unsigned lanes;
    asm volatile("{\n"
                 "  .reg .pred set;\n"
                 "  and.b32 %0, %1, %2;\n"
                 "  setp.ne.u32 set, %0, 0;\n"
                 "  vote.sync.ballot.b32 %0, set, 0xffffffff;\n"
                 "  @!set not.b32 %0, %0;\n"
                 "}" : "=r"(lanes) : "r"(number), "r"(1u << bit));
    alike &= lanes;
#else
    const bool set = (number >> bit & 1) != 0;
    const unsigned lanes = __ballot_sync(0xffffffffu, set);
    alike &= set ? lanes : ~lanes;
#endif
  }
  return alike;
}

// A count for other blocks, which wait for it: how many there are in one tile, or in all tiles up to it. Its two highest
// bits are a mark that it is there, and of which it is.
template <typename Word>
__device__ __forceinline__ void post_count(volatile Word *board, unsigned count, bool all) {
  *board = (Word)(all ? 2 : 1) << (8 * sizeof(Word) - 2) | count;
}

// How many there are in the tiles before one, whose counts are so many words apart. It adds up those of single tiles
// until one knows all before it; a sum of whole numbers is the same wherever that is.
template <typename Word>
__device__ __forceinline__ unsigned counted_before(const volatile Word *board, unsigned tile, unsigned apart) {
  constexpr int shift = 8 * sizeof(Word) - 2, few = 4;
  unsigned sum = 0;
  while (tile > 0) {
    Word words[few];
#pragma unroll
    for (int n = 0; n < few; ++n) words[n] = tile > (unsigned)n ? board[(tile - 1 - n) * (unsigned long long)apart] : 0;
#pragma unroll
    for (int n = 0; n < few; ++n) {
      const unsigned mark = (unsigned)(words[n] >> shift);
      if (mark == 0) break;
      sum += (unsigned)(words[n] & (((Word)1 << shift) - 1));
      tile = mark == 2 ? 0 : tile - 1;
      if (tile == 0) break;
    }
    if (words[0] >> shift == 0) __nanosleep(20);
  }
  return sum;
}

// Whether this block is the last of a launch's to come here; its threads then see what those of all others have written.
// The last ticket is followed by the first one again: the next launch begins with that.
__device__ __forceinline__ bool is_last_block(unsigned *tickets, unsigned blocks) {
  __shared__ bool last;
  __syncthreads();
  if (threadIdx.x + threadIdx.y + threadIdx.z == 0) {
    __threadfence();
    last = atomicInc(tickets, blocks - 1) == blocks - 1;
    if (last) __threadfence();
  }
  __syncthreads();
  return last;
}
