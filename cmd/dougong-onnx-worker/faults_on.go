//go:build cgo && nativefaults

package main

import (
	"encoding/binary"
	"math"
	"os"
	"strconv"

	"github.com/dougong-io/dougong/services/inference/wire"
)

/*
#include <stdlib.h>

static void dougong_segv(void) {
	volatile int *nowhere = NULL;
	*nowhere = 1;
}

static void dougong_hang(void) {
	for (volatile unsigned long n = 0;; n++) {}
}

static void dougong_leak(size_t n) {
	volatile unsigned char *p = malloc(n);
	for (size_t i = 0; p && i < n; i += 1024) p[i] = 1; // a page that is not touched takes no memory
}
*/
import "C"

const leakBytes = 1 << 20

// poison is what a test has the engine do in C: ORT_TEST_POISON is a number, ORT_TEST_POISON_KIND what happens
// when it is in a call's first input. It is for tests of who starts the worker; no other build has it.
type poison struct {
	number float64
	kind   string
}

func newPoison() poison {
	number, err := strconv.ParseFloat(os.Getenv("ORT_TEST_POISON"), 64)
	if err != nil {
		number = math.NaN() // equals nothing
	}
	return poison{number, os.Getenv("ORT_TEST_POISON_KIND")}
}

func (p poison) strike(call *wire.Call) {
	if len(call.Inputs) == 0 || !holds(&call.Inputs[0], p.number) {
		return
	}
	switch p.kind {
	case "segv":
		C.dougong_segv()
	case "hang":
		C.dougong_hang()
	case "leak":
		C.dougong_leak(leakBytes)
	}
}

// holds tells whether a tensor has a number, in any row: a batch has several callers'.
func holds(t *wire.Tensor, number float64) bool {
	size := t.Datatype.Size()
	for data := t.Data; size > 0 && len(data) >= size; data = data[size:] {
		if element(data, t.Datatype) == number {
			return true
		}
	}
	return false
}

func element(data []byte, as wire.Datatype) float64 {
	switch as {
	case wire.BOOL, wire.UINT8:
		return float64(data[0])
	case wire.UINT16:
		return float64(binary.LittleEndian.Uint16(data))
	case wire.UINT32:
		return float64(binary.LittleEndian.Uint32(data))
	case wire.UINT64:
		return float64(binary.LittleEndian.Uint64(data))
	case wire.INT8:
		return float64(int8(data[0]))
	case wire.INT16:
		return float64(int16(binary.LittleEndian.Uint16(data)))
	case wire.INT32:
		return float64(int32(binary.LittleEndian.Uint32(data)))
	case wire.INT64:
		return float64(int64(binary.LittleEndian.Uint64(data)))
	case wire.FP32:
		return float64(math.Float32frombits(binary.LittleEndian.Uint32(data)))
	case wire.FP64:
		return math.Float64frombits(binary.LittleEndian.Uint64(data))
	}
	return math.NaN()
}
