package report_test

import (
	"bytes"
	"fmt"
	"strings"

	"github.com/dougong-io/dougong/prove/fault"
	"github.com/dougong-io/dougong/prove/fault/effect"
	"github.com/dougong-io/dougong/prove/report"
)

func ExampleWriteFaultsText() {
	longer := effect.Difference{Known: true, Pairs: 8, Off: 2, On: 7, Value: 5.01, Low: 4.96, High: 5.06, Claimed: true}
	result := &fault.Result{
		Schema: fault.ResultSchema, End: fault.EndFinished,
		Rows: []fault.Row{{
			Name: "slow bank", Kind: fault.KindRule, Status: fault.StatusMeasured, Hits: 3200,
			Effect: effect.Effect{Verdict: effect.Claimed, Claims: []effect.Measure{effect.P50}, Pairs: 8, P50: longer},
		}},
	}
	var out bytes.Buffer
	if err := report.WriteFaultsText(&out, result, 80); err != nil {
		fmt.Println(err)
		return
	}
	for line := range strings.Lines(out.String()) {
		if strings.Contains(line, "slow bank") || strings.Contains(line, " to ") {
			fmt.Println(strings.Join(strings.Fields(line), " "))
		}
	}
	// Output:
	// ● slow bank *+5.01 ms 3,200
	// +4.96 to +5.06
	// ● slow bank: Effect on p50
}
