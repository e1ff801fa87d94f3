package report

import (
	"bytes"
	"encoding/csv"
	"strings"
	"testing"

	"github.com/dougong-io/dougong/prove/load"
)

func TestCSVHasARowAnInterval(t *testing.T) {
	r := sample()
	r.Intervals = append(r.Intervals, load.Interval{From: 2, Window: load.Window{Seconds: 0.5}}) // nothing was due
	var buf bytes.Buffer
	if err := WriteCSV(&buf, r); err != nil {
		t.Fatal(err)
	}
	want := strings.Join([]string{
		"from_s,seconds,due,done,ok,failed_refused,failed_reset,failed_closed,failed_timeout,failed_tls,failed_protocol,failed_status,failed_check,failed_local,unfinished,bytes_out,bytes_in,messages,connects,p50_ms,p90_ms,p99_ms,p99_9_ms,max_ms,service_p50_ms,service_p90_ms,service_p99_ms,service_p99_9_ms,service_max_ms,late,late_max_ms,in_flight",
		"0,1,5,4,3,0,0,0,0,0,0,1,0,0,1,500,700,2,1,2.000896,400,400,400,400,2.000896,3,3,3,3,0,0,1",
		"1,1,5,5,3,0,0,0,0,0,0,1,0,0,1,500,700,2,1,2.000896,400,400,400,400,2.000896,3,3,3,3,1,12.5,0",
		"2,0.5,0,0,0,0,0,0,0,0,0,0,0,0,0,0,0,0,0,,,,,,,,,,,0,0,0",
	}, "\n") + "\n"
	if got := buf.String(); got != want {
		t.Errorf("got\n%s\nwant\n%s", got, want)
	}
}

func TestCSVHasAColumnAClass(t *testing.T) {
	var buf bytes.Buffer
	if err := WriteCSV(&buf, &load.Result{}); err != nil {
		t.Fatal(err)
	}
	rows, err := csv.NewReader(&buf).ReadAll()
	if err != nil || len(rows) != 1 {
		t.Fatalf("%d rows, %v; a run without intervals has the header alone", len(rows), err)
	}
	for _, class := range load.Classes() {
		if !strings.Contains(strings.Join(rows[0], ","), ",failed_"+string(class)+",") {
			t.Errorf("class %s has no column", class)
		}
	}
}
