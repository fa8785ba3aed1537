// Calls a plan's entry with the data pointers of NumPy arrays: one crossing from Python for the whole plan.
// Declares what it takes from Python by itself, so that Python's headers need not be installed.
typedef struct object object;
extern object *PyList_GetItem(object *list, long n);
extern long PyList_Size(object *list);
extern long PyDict_Size(object *dict);
extern int PyDict_Next(object *dict, long *position, object **key, object **value);
extern long PySet_Size(object *set);
extern char *PyBytes_AsString(object *bytes);
extern long PyBytes_Size(object *bytes);
extern void *PyEval_SaveThread(void);
extern void PyEval_RestoreThread(void *state);
extern void *PyLong_AsVoidPtr(object *);
extern object *PyBool_FromLong(long);
struct method { const char *name; object *(*call)(object *, object *const *, long); int flags; const char *doc; };
extern object *PyCFunction_NewEx(const struct method *, object *self, object *module);

typedef void entry(void *const *io, char *arena, const void *lib);

struct object { long references; void *type; };

// What every call needs to know; set once. data_offset is where an array object keeps its data pointer, and the
// caller has checked it.
static const void *routines, *array_type;
static long data_offset;

static int pointers(object *list, long n, void **to) {
  for (long i = 0; i < n; i++) {
    object *item = PyList_GetItem(list, i);
    if (!item || item->type != array_type) return 0;
    to[i] = *(void **)((char *)item + data_offset);
  }
  return 1;
}

// Of (entry, inputs, outputs, arena): runs the entry. False, with nothing done, if something is no plain array.
static object *call(object *self, object *const *arguments, long count) {
  entry *run = (entry *)PyLong_AsVoidPtr(arguments[0]);
  long n = PyList_Size(arguments[1]), m = PyList_Size(arguments[2]);
  void *io[n + m + 1];
  if (!pointers(arguments[1], n, io) || !pointers(arguments[2], m, io + n)) return PyBool_FromLong(0);
  char *arena = PyLong_AsVoidPtr(arguments[3]);
  void *state = PyEval_SaveThread();
  run(io, arena, routines);
  PyEval_RestoreThread(state);
  return PyBool_FromLong(1);
}

// A Python function that costs a tenth of a microsecond; ctypes takes ten times as long to convert arguments.
object *tracec_call(const void *lib, const void *type, long offset) {
  static const struct method definition = {"call", call, 0x80 /* METH_FASTCALL */, 0};
  routines = lib, array_type = type, data_offset = offset;
  return PyCFunction_NewEx(&definition, 0, 0);
}

// How a container is looked at: the keys and values of a dictionary, the items of a list, the size of a set.
enum kind { KEYS_AND_VALUES, ITEMS, SIZE };
struct look { object *container; long kind, size; };

// Of (looks, addresses of what they found), as bytes: whether containers hold the very same objects.
static object *holds(object *self, object *const *arguments, long count) {
  const struct look *look = (const void *)PyBytes_AsString(arguments[0]);
  const struct look *end = look + PyBytes_Size(arguments[0]) / (long)sizeof *look;
  object *const *found = (const void *)PyBytes_AsString(arguments[1]);
  for (; look < end; look++) {
    object *container = look->container, *key, *value;
    long size = look->kind == ITEMS ? PyList_Size(container)
                : look->kind == SIZE ? PySet_Size(container) : PyDict_Size(container);
    if (size != look->size) return PyBool_FromLong(0);
    long position = 0;
    if (look->kind == KEYS_AND_VALUES)
      while (size && PyDict_Next(container, &position, &key, &value)) {
        if (key != *found++) return PyBool_FromLong(0);
        if (value != *found++) return PyBool_FromLong(0);
      }
    else if (look->kind == ITEMS)
      for (; position < size; position++)
        if (PyList_GetItem(container, position) != *found++) return PyBool_FromLong(0);
  }
  return PyBool_FromLong(1);
}

object *tracec_holds(void) {
  static const struct method definition = {"holds", holds, 0x80 /* METH_FASTCALL */, 0};
  return PyCFunction_NewEx(&definition, 0, 0);
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
