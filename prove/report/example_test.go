package report_test

import (
	"bytes"
	"fmt"

	"github.com/dougong-io/dougong/prove/load"
	"github.com/dougong-io/dougong/prove/report"
)

func Example() {
	result := &load.Result{
		Schema: load.ResultSchema, Target: "http://127.0.0.1:8080", Seconds: 10, End: load.EndFinished, Verdict: load.VerdictFail,
		SLO: []load.SLOResult{{SLO: "p99<50ms", Value: 861, Bound: 50, Unit: "ms", Verdict: load.VerdictFail}},
	}
	var file bytes.Buffer
	if err := report.WriteJSON(&file, result); err != nil {
		fmt.Println(err)
		return
	}
	// Later, or elsewhere:
	read, err := report.ReadJSON(&file)
	if err != nil {
		fmt.Println(err)
		return
	}
	var page bytes.Buffer
	if err := report.WriteHTML(&page, read); err != nil { // for a browser
		fmt.Println(err)
		return
	}
	for _, objective := range read.SLO {
		fmt.Println(objective.SLO, objective.Verdict)
	}
	// Output: p99<50ms fail
}
