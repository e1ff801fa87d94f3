//go:build !unix

package load

import "time"

func usage() (cpu time.Duration, peak uint64) { return 0, 0 }

func descriptors() uint64 { return 0 }
