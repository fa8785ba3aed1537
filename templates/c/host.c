// Calls a plan's entry with the data pointers of NumPy arrays: one crossing from Python for the whole plan.
// Declares what it takes from Python by itself, so that Python's headers need not be installed.
typedef struct object object;
extern object *PyList_GetItem(object *list, long n);
extern long PyList_Size(object *list);
extern long PyDict_Size(object *dict);
extern int PyDict_Next(object *dict, long *position, object **key, object **value);
extern object *PyDict_GetItem(object *dict, object *key);
extern object *PyObject_GenericGetDict(object *, void *);
extern object *PyObject_GetAttr(object *, object *name);
extern object *PyFunction_GetCode(object *), *PyFunction_GetDefaults(object *), *PyFunction_GetKwDefaults(object *);
extern object *PyObject_GetItem(object *mapping, object *key);
extern long PyObject_Size(object *container);
extern object *PyCell_Get(object *cell);
extern void PyErr_Clear(void);
extern void Py_DecRef(object *);
extern char *PyBytes_AsString(object *bytes);
extern long PyBytes_Size(object *bytes);
extern void *PyEval_SaveThread(void);
extern void PyEval_RestoreThread(void *state);
extern void *PyLong_AsVoidPtr(object *);
extern object *PyBool_FromLong(long);
struct method { const char *name; object *(*call)(object *, object *const *, long); int flags; const char *doc; };
extern object *PyCFunction_NewEx(const struct method *, object *self, object *module);

typedef void entry(void *const *io, char *arena, const void *lib);

struct object { long references; object *type; };

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

// How something is looked at: the keys and values of a dictionary, or its keys alone, the items of a list, how many items
// there are, what is in a cell, what a dictionary or a class has under a key, what an object's class is, in which
// dictionary it keeps its attributes, in which classes a class looks for them, a function's code and defaults.
enum kind { KEYS_AND_VALUES, KEYS, ITEMS, SIZE, CELL, ENTRY, ATTRIBUTE, CLASS, ATTRIBUTES, BASES, CODE };
struct look { object *at; long kind, size; };

// Gives up a reference to what its owner, where there is one, keeps alive.
static object *borrowed(object *new) {
  if (new) Py_DecRef(new);
  else PyErr_Clear();
  return new;
}

// Of (looks, addresses of what they found), as bytes: whether they would find the very same objects again. No address
// stands for what is not there.
static object *holds(object *self, object *const *arguments, long count) {
  const struct look *look = (const void *)PyBytes_AsString(arguments[0]);
  const struct look *end = look + PyBytes_Size(arguments[0]) / (long)sizeof *look;
  object *const *found = (const void *)PyBytes_AsString(arguments[1]);
  for (; look < end; look++) {
    object *at = look->at, *key, *value, *now = 0;
    long size = look->size, position = 0;
    switch (look->kind) {
    case KEYS_AND_VALUES:
    case KEYS:
      if (PyDict_Size(at) != size) return PyBool_FromLong(0);
      while (size && PyDict_Next(at, &position, &key, &value)) {
        if (key != *found++) return PyBool_FromLong(0);
        if (look->kind == KEYS_AND_VALUES && value != *found++) return PyBool_FromLong(0);
      }
      continue;
    case ITEMS:
      if (PyList_Size(at) != size) return PyBool_FromLong(0);
      for (; position < size; position++)
        if (PyList_GetItem(at, position) != *found++) return PyBool_FromLong(0);
      continue;
    case SIZE:
      if (PyObject_Size(at) != size) return PyBool_FromLong(0);
      continue;
    case CELL: now = borrowed(PyCell_Get(at)); break;
    case ENTRY: now = PyDict_GetItem(at, *found++); break;
    case ATTRIBUTE: now = borrowed(PyObject_GetItem(at, *found++)); break;
    case CLASS: now = at->type; break;
    case ATTRIBUTES: now = borrowed(PyObject_GenericGetDict(at, 0)); break;
    case BASES: now = borrowed(PyObject_GetAttr(at, *found++)); break;
    case CODE:
      if (PyFunction_GetCode(at) != *found++) return PyBool_FromLong(0);
      if (PyFunction_GetDefaults(at) != *found++) return PyBool_FromLong(0);
      now = PyFunction_GetKwDefaults(at);
      break;
    }
    if (now != *found++) return PyBool_FromLong(0);
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
