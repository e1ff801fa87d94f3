// The side of the line protocol that every peer in C or C++ shares (see ../engine.go):
// the program is called with the file of rows as its first argument and the engine's own after it.
#ifndef HARNESS_H
#define HARNESS_H

#include <inttypes.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#ifdef __cplusplus
extern "C" {
#endif

// An engine implements these three. rows is all rows, row-major; they stay where they are.
void engine_open(int argc, char **argv, const float *rows, int n, int features);
void engine_prepare(int batch);                  // for batches of that many rows
void engine_score(int at, int batch, float *out);  // the rows from at on

#ifdef __cplusplus
}
#endif

static void fail(const char *what, const char *why) {
  fprintf(stderr, "%s: %s\n", what, why);
  exit(1);
}

static int64_t cpu_ns(void) {
  struct timespec t;
  clock_gettime(CLOCK_PROCESS_CPUTIME_ID, &t);
  return t.tv_sec * INT64_C(1000000000) + t.tv_nsec;
}

int main(int argc, char **argv) {
  if (argc < 2) fail("usage", "rows-file …");
  FILE *f = fopen(argv[1], "rb");
  int32_t size[2];
  if (!f || fread(size, 4, 2, f) != 2) fail(argv[1], "cannot be read");
  int n = size[0], features = size[1];
  float *rows = (float *)malloc(sizeof(float) * n * features);
  if (fread(rows, sizeof(float), (size_t)n * features, f) != (size_t)n * features) fail(argv[1], "too short");
  fclose(f);
  float *out = (float *)malloc(sizeof(float) * n);
  engine_open(argc - 2, argv + 2, rows, n, features);

  char line[64];
  int batch = 1, at = 0, number;
  while (fgets(line, sizeof line, stdin)) {
    if (!strcmp(line, "answers\n")) {
      engine_prepare(1);
      for (int i = 0; i < n; i++) engine_score(i, 1, out + i);
      for (int i = 0; i < n; i++) printf("%.9g\n", out[i]);
      batch = 1;
    } else if (sscanf(line, "prepare %d", &number) == 1) {
      batch = number;
      at = 0;
      engine_prepare(batch);
      printf("ok\n");
    } else if (sscanf(line, "run %d", &number) == 1) {
      int64_t start = cpu_ns(), used = 0, scored = 0;
      while (used < number * INT64_C(1000000)) {
        for (int i = 0; i < 1 + 256 / batch; i++) {
          if (at + batch > n) at = 0;
          engine_score(at, batch, out);
          at += batch;
          scored += batch;
        }
        used = cpu_ns() - start;
      }
      printf("%" PRId64 " %" PRId64 " 0\n", scored, used);
    } else {
      fail("unknown command", line);
    }
    fflush(stdout);
  }
  return 0;
}

#endif
