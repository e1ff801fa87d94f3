/* A preloaded library that covers its tracks, as such libraries do. */
#include <stdlib.h>

__attribute__((constructor)) static void hide(void) { unsetenv("LD_PRELOAD"); }
