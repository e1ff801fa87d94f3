//go:build cgo

// Package native is C for the tests of cguard: tests cannot use cgo themselves.
package native

import (
	"time"
	"unsafe"
)

/*
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <time.h>

static void native_sleep(int64_t ns) {
	struct timespec left = {ns / 1000000000, ns % 1000000000};
	while (nanosleep(&left, &left) != 0) {}
}

static uint64_t native_sum(const unsigned char *p, size_t n) {
	uint64_t sum = 0;
	for (size_t i = 0; i < n; i++) sum += p[i];
	return sum;
}

// It sleeps between two readings of the same memory: whoever frees it meanwhile is found by the address sanitiser.
static uint64_t native_sum_twice(const unsigned char *p, size_t n, int64_t ns) {
	uint64_t first = native_sum(p, n);
	native_sleep(ns);
	return first + native_sum(p, n);
}

static void native_leak(size_t n) {
	volatile unsigned char *p = malloc(n);
	if (p) p[0] = 1;
}
*/
import "C"

// Sleep blocks in C.
func Sleep(d time.Duration) { C.native_sleep(C.int64_t(d)) }

// Sum of the bytes, read in C.
func Sum(b []byte) uint64 {
	return uint64(C.native_sum((*C.uchar)(unsafe.SliceData(b)), C.size_t(len(b))))
}

// SumTwice reads the bytes, sleeps in C, and reads them again.
func SumTwice(b []byte, d time.Duration) uint64 {
	return uint64(C.native_sum_twice((*C.uchar)(unsafe.SliceData(b)), C.size_t(len(b)), C.int64_t(d)))
}

// Leak allocates in C and forgets it.
func Leak(n int) { C.native_leak(C.size_t(n)) }

// Free frees what cguard allocated and a test had it forget.
func Free(b []byte) { C.free(unsafe.Pointer(unsafe.SliceData(b))) }
