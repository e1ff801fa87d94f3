package spelling_test

import (
	"fmt"

	"github.com/dougong-io/dougong/kit/spelling"
)

func Example() {
	columns := []string{"customer", "amount", "opened_at"}
	for _, name := range []string{"custmoer", "openedAt", "colour"} {
		fmt.Printf("%s: %q\n", name, spelling.Nearest(name, columns))
	}
	// Output:
	// custmoer: "customer"
	// openedAt: "opened_at"
	// colour: ""
}
