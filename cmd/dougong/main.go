// Command dougong runs the services of the Dougong platform and the tools around them.
package main

import (
	"os"

	"github.com/dougong-io/dougong/internal/cli"
)

func main() {
	os.Exit(cli.Main(os.Args[1:], os.Stdout, os.Stderr))
}
