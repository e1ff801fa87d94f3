// The model as if/else in C, as tl2cgen generates it; it is linked with this file.
#include <math.h>
#include "harness.h"
#include "header.h"

static union Entry *all;
static int width;

// In the generated code an integer of -1 marks a missing value.
void engine_open(int argc, char **argv, const float *rows, int n, int features) {
  (void)argc, (void)argv;
  width = features;
  all = (union Entry *)malloc(sizeof(union Entry) * n * features);
  for (int i = 0; i < n * features; i++) {
    if (isnan(rows[i]))
      all[i].missing = -1;
    else
      all[i].fvalue = rows[i];
  }
}

void engine_prepare(int batch) { (void)batch; }

void engine_score(int at, int batch, float *out) {
  for (int i = 0; i < batch; i++) {
    out[i] = 0;
    predict(all + (size_t)(at + i) * width, 0, out + i);
  }
}
