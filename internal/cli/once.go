package cli

import (
	"fmt"

	"github.com/spf13/cobra"
)

// once is a flag that may be given once: of two files to write, one would be lost without a word.
type once struct {
	value *string
	given bool
}

// onceVar adds such a flag.
func onceVar(cmd *cobra.Command, value *string, name, usage string) {
	cmd.Flags().Var(&once{value: value}, name, usage)
}

func (o *once) Set(text string) error {
	if o.given {
		return fmt.Errorf("it was %q before; give it once", *o.value)
	}
	*o.value, o.given = text, true
	return nil
}

func (o *once) String() string {
	if o.value == nil { // of a zero value, which the help compares with
		return ""
	}
	return *o.value
}

func (o *once) Type() string { return "string" }
