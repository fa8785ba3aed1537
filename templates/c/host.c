// Calls a plan's entry with the data pointers of NumPy arrays: one crossing from Python for the whole plan.
// Declares what it takes from Python by itself, so that Python's headers need not be installed.
typedef struct object object;
extern object *PyList_GetItem(object *list, long n);
extern long PyList_Size(object *list);
extern void *PyEval_SaveThread(void);
extern void PyEval_RestoreThread(void *state);

typedef void entry(void *const *io, char *arena, const void *lib);

struct object { long references; void *type; };

static int pointers(object *list, long n, const void *array_type, long data_offset, void **to) {
  for (long i = 0; i < n; i++) {
    object *item = PyList_GetItem(list, i);
    if (!item || item->type != array_type) return 0;
    to[i] = *(void **)((char *)item + data_offset);
  }
  return 1;
}

// data_offset is where an array object keeps its data pointer; the caller has checked it. Returns 0, with nothing
// done, if something is no plain array.
int tracec_call(entry *run, object *inputs, object *outputs, char *arena, const void *lib, const void *array_type,
                long data_offset) {
  long n = PyList_Size(inputs), m = PyList_Size(outputs);
  void *io[n + m + 1];
  if (!pointers(inputs, n, array_type, data_offset, io)) return 0;
  if (!pointers(outputs, m, array_type, data_offset, io + n)) return 0;
  void *state = PyEval_SaveThread();
  run(io, arena, lib);
  PyEval_RestoreThread(state);
  return 1;
}

// The head of struct tracec_lib.
struct lib {
  void *sgemm, *dgemm;
  int (*get_threads)(void);
  void (*set_threads)(int);
};

static char busy;
static int running, threads;

static void lock(void) { while (__atomic_test_and_set(&busy, __ATOMIC_ACQUIRE)); }
static void unlock(void) { __atomic_clear(&busy, __ATOMIC_RELEASE); }

// The first plan to use BLAS puts it on one thread, the last one to finish restores what it found.
void tracec_blas_begin(const struct lib *lib) {
  if (!lib->set_threads) return;
  lock();
  if (running++ == 0) {
    threads = lib->get_threads();
    lib->set_threads(1);
  }
  unlock();
}

void tracec_blas_end(const struct lib *lib) {
  if (!lib->set_threads) return;
  lock();
  if (--running == 0) lib->set_threads(threads);
  unlock();
}

// Stands in where no BLAS is found: CBLAS's row-major product, alpha = 1 and beta = 0.
#define PRODUCT(NAME, T)                                                                                           \
  void NAME(int order, int trans_a, int trans_b, long m, long n, long k, T alpha, const T *a, long lda,           \
            const T *b, long ldb, T beta, T *c, long ldc) {                                                       \
    long ai = trans_a == 111 ? lda : 1, ap = trans_a == 111 ? 1 : lda;                                            \
    long bp = trans_b == 111 ? ldb : 1, bj = trans_b == 111 ? 1 : ldb;                                            \
    T tile[64 * 64];                                                                                              \
    for (long j0 = 0; j0 < n; j0 += 64) {                                                                         \
      long nj = n - j0 < 64 ? n - j0 : 64;                                                                        \
      for (long i = 0; i < m; i++)                                                                                \
        for (long j = 0; j < nj; j++) c[i * ldc + j0 + j] = 0;                                                    \
      for (long p0 = 0; p0 < k; p0 += 64) {                                                                       \
        long np = k - p0 < 64 ? k - p0 : 64;                                                                      \
        for (long p = 0; p < np; p++)                                                                             \
          for (long j = 0; j < 64; j++) tile[p * 64 + j] = j < nj ? b[(p0 + p) * bp + (j0 + j) * bj] : 0;         \
        for (long i = 0; i < m; i++) {                                                                            \
          T sum[64] = {0};                                                                                        \
          for (long p = 0; p < np; p++) {                                                                         \
            T x = a[i * ai + (p0 + p) * ap];                                                                      \
            for (long j = 0; j < 64; j++) sum[j] += x * tile[p * 64 + j];                                         \
          }                                                                                                       \
          for (long j = 0; j < nj; j++) c[i * ldc + j0 + j] += sum[j];                                            \
        }                                                                                                         \
      }                                                                                                           \
    }                                                                                                             \
  }

PRODUCT(tracec_sgemm, float)
PRODUCT(tracec_dgemm, double)
