// What is done in one crossing from Python: plans are run with the data pointers of NumPy arrays, and what calls hang
// on is compared. Declares what it takes from Python by itself, so that Python's headers need not be installed.
typedef struct object object;
extern object *PyList_New(long n);
extern object *PyList_GetItem(object *list, long n);
extern int PyList_SetItem(object *list, long n, object *item);
extern long PyList_Size(object *list);
extern object *PyTuple_GetItem(object *tuple, long n);
extern long PyTuple_Size(object *tuple);
extern long PyDict_Size(object *dict);
extern int PyDict_Next(object *dict, long *position, object **key, object **value);
extern object *PyDict_GetItem(object *dict, object *key);
extern object *PyObject_GenericGetDict(object *, void *);
extern object *PyObject_GetAttr(object *, object *name);
extern int PyObject_RichCompareBool(object *, object *, int operator);
extern object *PyFunction_GetCode(object *), *PyFunction_GetDefaults(object *), *PyFunction_GetKwDefaults(object *);
extern object *PyObject_GetItem(object *mapping, object *key);
extern object *PyObject_CallNoArgs(object *);
extern long PyObject_Size(object *container);
extern object *PyCell_Get(object *cell);
extern void PyErr_Clear(void), PyErr_SetString(object *type, const char *text);
extern void Py_IncRef(object *), Py_DecRef(object *);
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
// What lies in an array object from its data pointer on.
struct array { void *data; int axes; const long *shape, *strides; object *base, *element; int flags; };
enum { SIDE_BY_SIDE = 1 };  // among the flags: row by row, without gaps

// What every call needs to know; set once. array_offset is where an array object keeps its data pointer, and the
// caller has checked it.
static const void *routines, *array_type;
static object *out_of_memory;
static long array_offset;

void tracec_set(const void *lib, const void *type, long offset, object *error) {
  routines = lib, array_type = type, array_offset = offset, out_of_memory = error;
}

// Whether the call that this thread is in found no memory for something; asking forgets it.
static _Thread_local int failed;

void tracec_no_memory(void) { failed = 1; }

int tracec_failed(void) {
  int found = failed;
  failed = 0;
  if (found) PyErr_SetString(out_of_memory, "there is no memory for what a compiled program keeps while it runs");
  return found;
}

static const struct array *array_of(object *item) {
  return item && item->type == array_type ? (const void *)((char *)item + array_offset) : 0;
}

typedef object *item_of(object *, long);

static int pointers(object *items, item_of *item, long n, int flags, void **to) {
  for (long i = 0; i < n; i++) {
    const struct array *array = array_of(item(items, i));
    if (!array || (array->flags & flags) != flags) return 0;
    to[i] = array->data;
  }
  return 1;
}

static int run(entry *run, void *const *io, char *arena) {
  void *state = PyEval_SaveThread();
  run(io, arena, routines);
  PyEval_RestoreThread(state);
  return !tracec_failed();
}

// Of (entry, inputs, outputs, arena): runs the entry. False, with nothing done, if something is no plain array.
static object *call(object *self, object *const *arguments, long count) {
  long n = PyList_Size(arguments[1]), m = PyList_Size(arguments[2]);
  void *io[n + m + 1];
  if (!pointers(arguments[1], PyList_GetItem, n, 0, io) || !pointers(arguments[2], PyList_GetItem, m, 0, io + n))
    return PyBool_FromLong(0);
  return run((entry *)PyLong_AsVoidPtr(arguments[0]), io, PyLong_AsVoidPtr(arguments[3])) ? PyBool_FromLong(1) : 0;
}

// Of inputs, and an arena where it is needed: runs the entry of (entry, what makes each output, tables, for each output
// the input that it is written in place of or -1). The outputs; none, with nothing done, if something is no plain array
// or an input's elements have gaps between them.
static object *outputs(object *self, object *const *arguments, long count) {
  object *inputs = arguments[0], *makers = PyTuple_GetItem(self, 1), *tables = PyTuple_GetItem(self, 2);
  const long *places = (const void *)PyBytes_AsString(PyTuple_GetItem(self, 3));
  long n = PyList_Size(inputs), m = PyTuple_Size(makers), more = PyTuple_Size(tables);
  void *io[n + m + more + 1];
  if (!pointers(inputs, PyList_GetItem, n, SIDE_BY_SIDE, io)) return PyList_New(0);
  object *made = PyList_New(m);
  for (long i = 0; made && i < m; i++) {
    object *output = places[i] < 0 ? PyObject_CallNoArgs(PyTuple_GetItem(makers, i)) : PyList_GetItem(inputs, places[i]);
    if (output && places[i] >= 0) Py_IncRef(output);
    if (output) PyList_SetItem(made, i, output);
    else Py_DecRef(made), made = 0;
  }
  if (!made) return 0;
  if (!pointers(made, PyList_GetItem, m, 0, io + n) || !pointers(tables, PyTuple_GetItem, more, 0, io + n + m)) {
    Py_DecRef(made);
    return PyList_New(0);
  }
  if (run((entry *)PyLong_AsVoidPtr(PyTuple_GetItem(self, 0)), io, count > 1 ? PyLong_AsVoidPtr(arguments[1]) : 0))
    return made;
  Py_DecRef(made);
  return 0;
}

// How something is looked at: the keys and values of a dictionary, or its keys alone, the items of a list, how many
// items there are, what is in a cell, what a dictionary or a class has under a key, what an object's class is, in which
// dictionary it keeps its attributes, in which classes a class looks for them, a function's code and defaults.
enum kind { KEYS_AND_VALUES, KEYS, ITEMS, SIZE, CELL, ENTRY, ATTRIBUTE, CLASS, ATTRIBUTES, BASES, CODE };
struct look { object *at; long kind, size; };

// Gives up a reference to what its owner, where there is one, keeps alive.
static object *borrowed(object *new) {
  if (new) Py_DecRef(new);
  else PyErr_Clear();
  return new;
}

// Whether looks would find the very same objects again. No address stands for what is not there.
static int unchanged(const struct look *look, const struct look *end, object *const *found) {
  for (; look < end; look++) {
    object *at = look->at, *key, *value, *now = 0;
    long size = look->size, position = 0;
    switch (look->kind) {
    case KEYS_AND_VALUES:
    case KEYS:
      if (PyDict_Size(at) != size) return 0;
      while (size && PyDict_Next(at, &position, &key, &value)) {
        if (key != *found++) return 0;
        if (look->kind == KEYS_AND_VALUES && value != *found++) return 0;
      }
      continue;
    case ITEMS:
      if (PyList_Size(at) != size) return 0;
      for (; position < size; position++)
        if (PyList_GetItem(at, position) != *found++) return 0;
      continue;
    case SIZE:
      if (PyObject_Size(at) != size) return 0;
      continue;
    case CELL: now = borrowed(PyCell_Get(at)); break;
    case ENTRY: now = PyDict_GetItem(at, *found++); break;
    case ATTRIBUTE: now = borrowed(PyObject_GetItem(at, *found++)); break;
    case CLASS: now = at->type; break;
    case ATTRIBUTES: now = borrowed(PyObject_GenericGetDict(at, 0)); break;
    case BASES: now = borrowed(PyObject_GetAttr(at, *found++)); break;
    case CODE:
      if (PyFunction_GetCode(at) != *found++) return 0;
      if (PyFunction_GetDefaults(at) != *found++) return 0;
      now = PyFunction_GetKwDefaults(at);
      break;
    }
    if (now != *found++) return 0;
  }
  return 1;
}

// Whether the looks of (looks, addresses of what they found), as bytes, would find the very same objects again.
static object *holds(object *self, object *const *arguments, long count) {
  object *looks = PyTuple_GetItem(self, 0), *found = PyTuple_GetItem(self, 1);
  const struct look *first = (const void *)PyBytes_AsString(looks);
  const struct look *end = first + PyBytes_Size(looks) / (long)sizeof *first;
  return PyBool_FromLong(unchanged(first, end, (const void *)PyBytes_AsString(found)));
}

// What a call is compared with: the modes of the thread, each with what it is where nobody has set it; arguments by
// position, then by name. Of an argument that has no `is` the class, the attributes and the array count: `usual` tells
// what attributes are, or that they may be anything, `needed` is one that is there and `wanted`, or something but None.
struct mode { object *name, *unset, *is; };
// An array of another class than NumPy's is asked for its attributes by name.
struct argument {
  object *name, *type, *is, *element;
  long axes;
  const long *sizes;
  object *usual, *needed, *wanted, *other_class, *shape, *strides;
};
struct call_guard {
  object *state, *dict;             // what keeps the modes, and the name of its dictionary
  object *dtype, *shape, *strides;  // names of attributes of arrays
  object *any, *none;               // that an attribute may be anything, and None
  object *array, *memory, *base;    // names of three of them
  object *of_base;                  // attributes of tensors that arguments are views of
  const struct mode *modes;
  long mode_count;
  const struct argument *arguments;
  long by_position, by_name;
};
enum { MOST = 8 };

static int same_modes(const struct call_guard *like) {
  object *set = borrowed(PyObject_GetAttr(like->state, like->dict));
  for (long i = 0; set && i < like->mode_count; i++) {
    const struct mode *mode = like->modes + i;
    object *now = PyDict_GetItem(set, mode->name);
    if ((now ? now : mode->unset) != mode->is) return 0;
  }
  return set != 0;
}

// Whether the attributes of a tensor are as usual; some of them.
static int are_usual(const struct call_guard *like, object *all, object *given, object *which, object **needed,
                     object **array, object **memory, object **base) {
  object *attributes = borrowed(PyObject_GenericGetDict(given, 0)), *name, *value;
  if (!attributes) return 0;
  for (long position = 0; PyDict_Next(attributes, &position, &name, &value);) {
    object *usual = PyDict_GetItem(all, name);
    if (!usual || (usual != like->any && usual != value)) return 0;
    if (name == which) *needed = value;
    if (name == like->array) *array = value;
    if (name == like->memory) *memory = value;
    if (name == like->base) *base = value;
  }
  return 1;
}

static int has(object *array, object *name, object *value) {
  object *found = PyObject_GetAttr(array, name);
  int same = found && PyObject_RichCompareBool(found, value, 2 /* Py_EQ */) == 1;
  if (found) Py_DecRef(found);
  if (!same) PyErr_Clear();
  return same;
}

// Whether an array is of the element type, shape and strides that an argument's has to be.
static int is_array(const struct call_guard *like, const struct argument *argument, object *found) {
  if (argument->other_class)
    return found && found->type == argument->other_class && has(found, like->shape, argument->shape) &&
           has(found, like->strides, argument->strides) && has(found, like->dtype, argument->element);
  const struct array *array = array_of(found);
  if (!array || array->element != argument->element || array->axes != argument->axes) return 0;
  for (long i = 0; i < array->axes; i++)
    if (array->shape[i] != argument->sizes[i] || array->strides[i] != argument->sizes[array->axes + i]) return 0;
  return 1;
}

// Whether something is the tensor, or the object, that an argument has to be; of a tensor, what memory it looks at.
static int fits(const struct call_guard *like, const struct argument *argument, object *given, object **memory) {
  if (given->type != argument->type) return 0;
  if (argument->is) return given == argument->is;
  object *found = 0, *base = 0, *needed = 0;
  if (!are_usual(like, argument->usual, given, argument->needed, &needed, &found, memory, &base)) return 0;
  if (argument->needed && (argument->wanted ? needed != argument->wanted : !needed || needed == like->none)) return 0;
  while (base && base != like->none) {  // no gradients go on through what it is a view of
    object *next = 0, *other;
    if (!are_usual(like, like->of_base, base, 0, &other, &other, &other, &next)) return 0;
    base = next;
  }
  return is_array(like, argument, found);
}

static int are_like(const struct call_guard *like, object *given, object *named) {
  if (PyTuple_Size(given) != like->by_position || PyDict_Size(named) != like->by_name) return 0;
  object *memory[MOST] = {0}, *name, *value;
  long position = 0, tensors = 0;
  for (long i = 0; i < like->by_position + like->by_name; i++) {
    const struct argument *argument = like->arguments + i;
    if (i < like->by_position) value = PyTuple_GetItem(given, i);
    else if (!PyDict_Next(named, &position, &name, &value) || name != argument->name) return 0;
    if (!fits(like, argument, value, memory + tensors)) return 0;
    if (argument->is) continue;
    for (long k = 0; k < tensors; k++)
      if (memory[k] == memory[tensors]) return 0;
    tensors++;
  }
  return 1;
}

// Whether (arguments, arguments by name) make a call like that of (guard, looks, addresses of what they found).
static object *is_like(object *self, object *const *arguments, long count) {
  const struct call_guard *like = (const void *)PyBytes_AsString(PyTuple_GetItem(self, 0));
  object *looks = PyTuple_GetItem(self, 1), *found = PyTuple_GetItem(self, 2);
  const struct look *first = (const void *)PyBytes_AsString(looks);
  const struct look *end = first + PyBytes_Size(looks) / (long)sizeof *first;
  return PyBool_FromLong(are_like(like, arguments[0], arguments[1]) && same_modes(like) &&
                         unchanged(first, end, (const void *)PyBytes_AsString(found)));
}

// One of these as a Python function, which costs a tenth of a microsecond; ctypes takes ten times as long to convert
// arguments.
object *tracec_function(long which, object *self) {
  static const struct method definitions[] = {
    {"call", call, 0x80 /* METH_FASTCALL */, 0}, {"outputs", outputs, 0x80, 0},
    {"holds", holds, 0x80, 0}, {"is_like", is_like, 0x80, 0},
  };
  return PyCFunction_NewEx(&definitions[which], self, 0);
}

// The head of struct tracec_lib.
struct lib {
  void *sgemm, *dgemm;
  int (*get_threads)(void);
  void (*set_threads)(int);
};

extern int sched_yield(void);

static char busy;
static int running, threads;

static void lock(void) { while (__atomic_test_and_set(&busy, __ATOMIC_ACQUIRE)) sched_yield(); }
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

// In a forked child, which has none of the threads that ran plans: nobody is at it, and BLAS has its threads again.
void tracec_blas_forked(const struct lib *lib) {
  if (running) lib->set_threads(threads);
  running = 0;
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
