// Command worker measures what it costs to have ONNX Runtime in a process of its own: the way through a supervisor.Pool to
// the real worker and back, beside the same library called in this process, in turns, in the same run.
package main

import (
	"context"
	"flag"
	"fmt"
	"math"
	"os"
	"os/exec"
	"runtime"
	"slices"
	"strings"
	"sync"
	"time"

	ort "github.com/yalue/onnxruntime_go"

	"github.com/dougong-io/dougong/services/inference/supervisor"
)

type options struct {
	worker, library string
	rounds          int
	each            time.Duration
}

// model is one that both ways run.
type model struct {
	name              string
	bytes             []byte
	input, output     string
	features, outputs int
}

// The smallest, in which the way is all, and one whose rows take the library some ten microseconds each.
var models = []struct{ name, path string }{
	{"digits", "../examples/models/digits/1/digits.onnx"},
	{"loan-default", "../examples/data/loan-default/loan_default_full.onnx"},
}

func readModel(name, path string) (*model, error) {
	m := &model{name: name}
	var err error
	if m.bytes, err = os.ReadFile(path); err != nil {
		return nil, err
	}
	in, out, err := ort.GetInputOutputInfoWithONNXData(m.bytes)
	if err != nil {
		return nil, err
	}
	m.input, m.output = in[0].Name, out[0].Name
	m.features, m.outputs = int(in[0].Dimensions[1]), int(out[0].Dimensions[1])
	return m, nil
}

func main() {
	var o options
	flag.StringVar(&o.worker, "worker", "../bin/dougong-onnx-worker", "the worker")
	flag.StringVar(&o.library, "library", "", "ONNX Runtime's library")
	flag.IntVar(&o.rounds, "rounds", 10, "turns of each; medians are printed")
	flag.DurationVar(&o.each, "each", 500*time.Millisecond, "how long a turn lasts")
	flag.Parse()
	if err := run(o); err != nil {
		fmt.Fprintln(os.Stderr, "bench worker:", err)
		os.Exit(1)
	}
}

// direct is the model in this process, its tensors bound once.
type direct struct {
	session *ort.AdvancedSession
	in, out *ort.Tensor[float32]
	rows    int
}

func newDirect(m *model, rows int) (*direct, error) {
	in, err := ort.NewEmptyTensor[float32](ort.NewShape(int64(rows), int64(m.features)))
	if err != nil {
		return nil, err
	}
	out, err := ort.NewEmptyTensor[float32](ort.NewShape(int64(rows), int64(m.outputs)))
	if err != nil {
		return nil, err
	}
	settings, err := ort.NewSessionOptions()
	if err != nil {
		return nil, err
	}
	defer settings.Destroy()
	if err := settings.SetIntraOpNumThreads(1); err != nil {
		return nil, err
	}
	session, err := ort.NewAdvancedSessionWithONNXData(m.bytes, []string{m.input}, []string{m.output}, []ort.Value{in}, []ort.Value{out}, settings)
	if err != nil {
		return nil, err
	}
	return &direct{session, in, out, rows}, nil
}

// predict does what Pool.Predict does: rows in, answers out, in float64.
func (d *direct) predict(answers, rows []float64) error {
	in := d.in.GetData()
	for i, v := range rows {
		in[i] = float32(v)
	}
	if err := d.session.Run(); err != nil {
		return err
	}
	for i, v := range d.out.GetData() {
		answers[i] = float64(v)
	}
	return nil
}

func run(o options) error {
	if o.library == "" {
		out, err := exec.Command("../scripts/onnx.sh").Output()
		if err != nil {
			return fmt.Errorf("ONNX Runtime is not there: %w", err)
		}
		o.library = strings.TrimSpace(string(out))
	}
	os.Setenv("ORT_DISABLE_TELEMETRY", "1") // as the worker does
	ort.SetSharedLibraryPath(o.library + "/libonnxruntime.so")
	if err := ort.InitializeEnvironment(); err != nil {
		return err
	}
	defer ort.DestroyEnvironment()
	for _, named := range models {
		m, err := readModel(named.name, named.path)
		if err != nil {
			return err
		}
		if err := compare(m, o); err != nil {
			return fmt.Errorf("%s: %w", m.name, err)
		}
	}
	return nil
}

func compare(m *model, o options) error {
	rows := make([]float64, 256*m.features)
	for i := range rows {
		rows[i] = float64(i*7919%17) / 16
	}
	one, err := newDirect(m, 1)
	if err != nil {
		return err
	}
	golden := make([]float64, m.outputs)
	if err := one.predict(golden, rows[:m.features]); err != nil {
		return err
	}
	cfg := supervisor.DefaultConfig()
	cfg.Threads = 1
	pool, err := supervisor.New(cfg, supervisor.Command{Path: o.worker, Env: append(os.Environ(), "ORT_LIBRARY="+o.library)}, supervisor.Model{
		Name: m.name, Version: "1", Format: "onnx", Bytes: slices.Clone(m.bytes), Features: m.features, Outputs: m.outputs,
		Golden: []supervisor.GoldenRow{{Input: rows[:m.features], Output: golden}}, Tolerance: 1e-5,
	}, supervisor.Deps{})
	if err != nil {
		return err
	}
	ctx, cancel := context.WithCancel(context.Background())
	ended := make(chan error, 1)
	go func() { ended <- pool.Run(ctx) }()
	defer func() { cancel(); <-ended }()
	for begin := time.Now(); pool.Healthy() != nil || len(pool.Status().Workers) < cfg.Workers; time.Sleep(time.Millisecond) {
		if time.Since(begin) > 30*time.Second {
			return fmt.Errorf("no worker serves: %w", pool.Healthy())
		}
	}
	fmt.Printf("# %s\n", m.name)
	if err := parity(ctx, pool, one, m, rows); err != nil {
		return err
	}
	if err := latency(ctx, pool, one, m, rows, o); err != nil {
		return err
	}
	return throughput(ctx, pool, m, rows, o)
}

// parity holds each answer of the pool against that of the library in this process.
func parity(ctx context.Context, pool *supervisor.Pool, one *direct, m *model, rows []float64) error {
	worst := 0.0
	got, want := make([]float64, m.outputs), make([]float64, m.outputs)
	for i := range 256 {
		row := rows[i*m.features : (i+1)*m.features]
		if err := pool.Predict(ctx, got, row); err != nil {
			return err
		}
		if err := one.predict(want, row); err != nil {
			return err
		}
		for k := range got {
			worst = max(worst, math.Abs(got[k]-want[k]))
		}
	}
	fmt.Printf("largest difference of 256 rows: %.2g\n\n", worst)
	if worst > 1e-5 {
		return fmt.Errorf("the answers differ by %g", worst)
	}
	return nil
}

// latency is the wall time of a single row, one after the other.
func latency(ctx context.Context, pool *supervisor.Pool, one *direct, m *model, rows []float64, o options) error {
	answer := make([]float64, m.outputs)
	call, cancel := context.WithTimeout(ctx, time.Hour)
	defer cancel()
	ways := []struct {
		name string
		call func(row []float64) error
	}{
		{"in process", func(row []float64) error { return one.predict(answer, row) }},
		{"worker", func(row []float64) error { return pool.Predict(call, answer, row) }},
	}
	medians := make([][]float64, len(ways)) // of each turn
	p99s := make([][]float64, len(ways))
	for range o.rounds {
		for w, way := range ways {
			var took []float64
			for begin, i := time.Now(), 0; time.Since(begin) < o.each; i++ {
				row := rows[i%256*m.features : (i%256+1)*m.features]
				at := time.Now()
				if err := way.call(row); err != nil {
					return err
				}
				took = append(took, float64(time.Since(at).Nanoseconds())/1e3)
			}
			slices.Sort(took)
			medians[w] = append(medians[w], took[len(took)/2])
			p99s[w] = append(p99s[w], took[len(took)*99/100])
		}
	}
	fmt.Printf("one row at a time, wall time, medians of %d turns of %v\n", o.rounds, o.each)
	for w, way := range ways {
		fmt.Printf("  %-12s p50 %7.1f µs   p99 %7.1f µs\n", way.name, median(medians[w]), median(p99s[w]))
	}
	over := median(medians[1]) - median(medians[0])
	fmt.Printf("  the way to the worker and back: %.1f µs (bar 15 µs: %s)\n\n", over, verdict(over <= 15))
	return nil
}

// throughput is rows a second of many callers at once, of one row each: the pool's batches against batches of the same size
// that are there from the beginning, on as many threads as there are workers.
func throughput(ctx context.Context, pool *supervisor.Pool, m *model, rows []float64, o options) error {
	const batch = 64
	workers := supervisor.DefaultConfig().Workers
	inProcess := func() (float64, error) {
		var all sync.WaitGroup
		var mu sync.Mutex
		var total int
		var failed error
		begin := time.Now()
		for range workers {
			d, err := newDirect(m, batch)
			if err != nil {
				return 0, err
			}
			all.Go(func() {
				runtime.LockOSThread()
				answers, n := make([]float64, batch*m.outputs), 0
				var err error
				for time.Since(begin) < o.each && err == nil {
					err = d.predict(answers, rows[:batch*m.features])
					n += batch
				}
				mu.Lock()
				defer mu.Unlock()
				total += n
				if err != nil {
					failed = err
				}
			})
		}
		all.Wait()
		return float64(total) / time.Since(begin).Seconds(), failed
	}
	pooled := func(callers, each int) (float64, error) {
		var all sync.WaitGroup
		var mu sync.Mutex
		var total int
		var failed error
		begin := time.Now()
		for c := range callers {
			all.Go(func() {
				call, cancel := context.WithTimeout(ctx, time.Hour)
				defer cancel()
				answers, n := make([]float64, each*m.outputs), 0
				at := c % (256 / each) * each * m.features
				var err error
				for time.Since(begin) < o.each && err == nil {
					err = pool.Predict(call, answers, rows[at:at+each*m.features])
					n += each
				}
				mu.Lock()
				defer mu.Unlock()
				total += n
				if err != nil {
					failed = err
				}
			})
		}
		all.Wait()
		return float64(total) / time.Since(begin).Seconds(), failed
	}
	ways := []struct {
		name string
		run  func() (float64, error)
	}{
		{fmt.Sprintf("in process, %d threads, batches of %d", workers, batch), inProcess},
		{"workers, requests of 64 rows, 8 callers", func() (float64, error) { return pooled(8, batch) }},
		{"workers, requests of 1 row, 256 callers", func() (float64, error) { return pooled(256, 1) }},
	}
	rates := make([][]float64, len(ways))
	for range o.rounds {
		for w, way := range ways {
			rate, err := way.run()
			if err != nil {
				return err
			}
			rates[w] = append(rates[w], rate)
		}
	}
	fmt.Printf("many rows, medians of %d turns\n", o.rounds)
	base := median(rates[0])
	for w, way := range ways {
		fmt.Printf("  %-42s %9.0f rows a second   %.2f\n", way.name, median(rates[w]), median(rates[w])/base)
	}
	ratio := median(rates[1]) / base
	fmt.Printf("  batched throughput of the workers: %.2f of in process (bar 0.9: %s)\n\n", ratio, verdict(ratio >= 0.9))
	return nil
}

func verdict(ok bool) string {
	if ok {
		return "reached"
	}
	return "missed"
}

func median(of []float64) float64 {
	sorted := slices.Sorted(slices.Values(of))
	return sorted[len(sorted)/2]
}
