/* A program and a library with nothing in them: the tests name the loader and the C library that they want. */
void _start(void) {}
