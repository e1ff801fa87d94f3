package clock_test

import (
	"fmt"
	"time"

	"github.com/dougong-io/dougong/kit/clock"
)

func Example() {
	m := clock.NewManual() // in a program: clock.NewCoarse(clock.Resolution)
	c := m.Clock()

	begin := c.Now()
	m.Advance(1500 * time.Millisecond)
	fmt.Println(c.Now() - begin)
	// Output: 1.5s
}
