package main

import "C" // links a C library, where cgo is on
