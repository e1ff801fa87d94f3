// XGBoost through its C API, inplace prediction from a dense matrix on one thread.
// Arguments: libxgboost.so, the model. The library is opened at run time, so that one program serves
// several versions; two of them clash in one process.
#define _GNU_SOURCE
#include <dlfcn.h>
#include "harness.h"

typedef void *Handle;
static const char *(*last_error)(void);
static int (*create)(const Handle *, uint64_t, Handle *);
static int (*set_param)(Handle, const char *, const char *);
static int (*load)(Handle, const char *);
static int (*predict)(Handle, const char *, const char *, Handle, uint64_t const **, uint64_t *, const float **);

static Handle booster;
static const float *all;
static int count, width;
static char (*arrays)[160];  // by first row: the array interface of its batch
static const char config[] =
    "{\"type\":0,\"training\":false,\"iteration_begin\":0,\"iteration_end\":0,\"missing\":NaN,"
    "\"strict_shape\":false,\"cache_id\":0}";

static void check(int code, const char *what) {
  if (code != 0) fail(what, last_error());
}

void engine_open(int argc, char **argv, const float *rows, int n, int features) {
  if (argc != 2) fail("xgboost", "wants a library and a model");
  char *path = realpath(argv[0], NULL);  // what it depends on lies beside the file, not beside a link
  void *lib = path ? dlopen(path, RTLD_NOW) : NULL;
  if (!lib) fail(argv[0], path ? dlerror() : "is not there");
  *(void **)&last_error = dlsym(lib, "XGBGetLastError");
  *(void **)&create = dlsym(lib, "XGBoosterCreate");
  *(void **)&set_param = dlsym(lib, "XGBoosterSetParam");
  *(void **)&load = dlsym(lib, "XGBoosterLoadModel");
  *(void **)&predict = dlsym(lib, "XGBoosterPredictFromDense");
  if (!last_error || !create || !set_param || !load || !predict) fail(argv[0], "lacks a function");
  check(create(NULL, 0, &booster), "create");
  check(load(booster, argv[1]), "load");
  check(set_param(booster, "nthread", "1"), "nthread");
  all = rows, count = n, width = features;
  arrays = (char(*)[160])malloc(sizeof(*arrays) * n);
}

void engine_prepare(int batch) {
  for (int i = 0; i + batch <= count; i++)
    snprintf(arrays[i], sizeof arrays[i], "{\"data\":[%" PRIuPTR ",true],\"shape\":[%d,%d],\"typestr\":\"<f4\",\"version\":3}",
             (uintptr_t)(all + (size_t)i * width), batch, width);
}

void engine_score(int at, int batch, float *out) {
  uint64_t const *shape;
  uint64_t dim;
  const float *result;
  check(predict(booster, arrays[at], config, NULL, &shape, &dim, &result), "predict");
  memcpy(out, result, sizeof(float) * batch);
}
