package main

import (
	"bufio"
	"bytes"
	"context"
	"encoding/binary"
	"encoding/json"
	"errors"
	"fmt"
	"math"
	"net"
	"strings"
	"sync"
	"sync/atomic"
	"syscall"
	"time"

	inferencepb "github.com/dougong-io/dougong/api/inference"
	"github.com/dougong-io/dougong/examples/models"
	"github.com/dougong-io/dougong/services/inference/modelfile"
	"github.com/dougong-io/dougong/services/inference/tree"
	"google.golang.org/grpc"
	"google.golang.org/grpc/credentials/insecure"
)

const headerLength = "Inference-Header-Content-Length"

// model is one of the demo's, with the column of its reference answers.
type model struct {
	name, column string
	cases        *caseTable
}

// loader offers one kind of request for a while.
type loader interface {
	// load returns how many were answered, and the CPU time that the server took.
	load(d time.Duration) (n int64, cpu time.Duration, err error)
	// verify sends each request once and holds the answer against the reference.
	verify(m *model, rows int) error
}

// protocol is a way to ask.
type protocol struct {
	name     string
	mlserver bool // whether MLServer speaks it
	loader   func(p *process, m *model, rows, conns int) (loader, error)
}

var protocols = []protocol{
	{"JSON", false, func(p *process, m *model, rows, conns int) (loader, error) {
		return &httpLoad{server: p, conns: conns, requests: m.json(rows), read: readJSON}, nil
	}},
	{"REST JSON", true, func(p *process, m *model, rows, conns int) (loader, error) {
		return &httpLoad{server: p, conns: conns, requests: m.restJSON(rows), read: readRESTJSON}, nil
	}},
	{"REST binary", false, func(p *process, m *model, rows, conns int) (loader, error) {
		return &httpLoad{server: p, conns: conns, requests: m.binary(rows), read: readBinary}, nil
	}},
	{"gRPC raw", true, newGRPCLoad},
}

// verified returns a loader whose server has answered every request as the reference does.
func (p protocol) verified(server *process, m *model, rows, conns int) (loader, error) {
	l, err := p.loader(server, m, rows, conns)
	if err == nil {
		err = l.verify(m, rows)
	}
	if err != nil {
		return nil, fmt.Errorf("%s, %s: %w", p.name, m.name, err)
	}
	return l, nil
}

// json are requests to POST /v1/predict.
func (m *model) json(n int) (requests [][]byte) {
	m.cases.batches(n, func(rows []int) {
		var body []byte
		if n == 1 {
			body = fmt.Appendf(nil, `{"model":%q,"input":%s}`, m.name, m.cases.rows[rows[0]])
		} else {
			batch := make([]string, n)
			for i, row := range rows {
				batch[i] = m.cases.rows[row]
			}
			body = fmt.Appendf(nil, `{"model":%q,"inputs":[%s]}`, m.name, strings.Join(batch, ","))
		}
		requests = append(requests, framed("/v1/predict", "Content-Type: application/json\r\n", body))
	})
	return requests
}

// restJSON are requests to POST /v2/models/{model}/infer, with a flat tensor each way.
func (m *model) restJSON(n int) (requests [][]byte) {
	m.cases.batches(n, func(rows []int) {
		cells := make([]string, n)
		for i, row := range rows {
			cells[i] = strings.Trim(m.cases.rows[row], "[]")
		}
		body := fmt.Appendf(nil, `{"inputs":[{"name":"input","datatype":"FP32","shape":[%d,%d],"data":[%s]}]}`, n, features, strings.Join(cells, ","))
		requests = append(requests, framed("/v2/models/"+m.name+"/infer", "Content-Type: application/json\r\n", body))
	})
	return requests
}

// binary are requests to POST /v2/models/{model}/infer, with a binary tensor each way.
func (m *model) binary(n int) (requests [][]byte) {
	m.cases.batches(n, func(rows []int) {
		tensor := m.cases.tensor(rows)
		head := fmt.Sprintf(`{"inputs":[{"name":"input","datatype":"FP32","shape":[%d,%d],"parameters":{"binary_data_size":%d}}],"outputs":[{"name":"output","parameters":{"binary_data":true}}]}`, n, features, len(tensor))
		requests = append(requests, framed("/v2/models/"+m.name+"/infer", fmt.Sprintf("%s: %d\r\n", headerLength, len(head)), append([]byte(head), tensor...)))
	})
	return requests
}

// framed makes a whole HTTP/1.1 request of a body.
func framed(path, header string, body []byte) []byte {
	return append(fmt.Appendf(nil, "POST %s HTTP/1.1\r\nHost: 127.0.0.1\r\n%sContent-Length: %d\r\n\r\n", path, header, len(body)), body...)
}

func readJSON(body []byte) (values []float64, err error) {
	var answer struct {
		Output  []float64   `json:"output"`
		Outputs [][]float64 `json:"outputs"`
	}
	err = json.Unmarshal(body, &answer)
	for _, row := range append(answer.Outputs, answer.Output) {
		values = append(values, row...)
	}
	return values, err
}

func readRESTJSON(body []byte) ([]float64, error) {
	var answer struct {
		Outputs []struct {
			Data []float64 `json:"data"`
		} `json:"outputs"`
	}
	if err := json.Unmarshal(body, &answer); err != nil {
		return nil, err
	}
	if len(answer.Outputs) != 1 {
		return nil, fmt.Errorf("%d outputs, want 1", len(answer.Outputs))
	}
	return answer.Outputs[0].Data, nil
}

func readBinary(body []byte) ([]float64, error) {
	end := bytes.LastIndexByte(body, '}') + 1
	if end == 0 || bytes.Count(body[:end], []byte("}]}")) == 0 {
		return nil, fmt.Errorf("no JSON in front of the tensor: %.200q", body)
	}
	end = bytes.Index(body, []byte("}]}")) + len("}]}")
	return floats(body[end:]), nil
}

func floats(tensor []byte) (values []float64) {
	for ; len(tensor) >= 4; tensor = tensor[4:] {
		values = append(values, float64(math.Float32frombits(binary.LittleEndian.Uint32(tensor))))
	}
	return values
}

func (l *httpLoad) verify(m *model, n int) error {
	conn, err := net.Dial("tcp", l.server.addr)
	if err != nil {
		return err
	}
	defer conn.Close()
	conn.SetDeadline(time.Now().Add(time.Minute))
	reader, turn := bufio.NewReader(conn), 0
	m.cases.batches(n, func(rows []int) {
		if err != nil {
			return
		}
		if _, err = conn.Write(l.requests[turn]); err != nil {
			return
		}
		turn++
		var body []byte
		if body, err = readAnswer(reader); err != nil {
			return
		}
		var got []float64
		if got, err = l.read(body); err == nil {
			err = m.cases.check(m.column, rows, got)
		}
	})
	return err
}

// grpcLoad calls ModelInfer with raw tensors over connections of grpc-go, one call at a time on each.
type grpcLoad struct {
	server   *process
	clients  []inferencepb.GRPCInferenceServiceClient
	requests []*inferencepb.ModelInferRequest
}

func newGRPCLoad(p *process, m *model, n, conns int) (loader, error) {
	l := &grpcLoad{server: p}
	for range conns {
		conn, err := grpc.NewClient("passthrough:///"+p.grpc, grpc.WithTransportCredentials(insecure.NewCredentials()))
		if err != nil {
			return nil, err
		}
		l.clients = append(l.clients, inferencepb.NewGRPCInferenceServiceClient(conn)) // open until the process ends
	}
	m.cases.batches(n, func(rows []int) {
		l.requests = append(l.requests, &inferencepb.ModelInferRequest{
			ModelName: m.name, RawInputContents: [][]byte{m.cases.tensor(rows)},
			Inputs: []*inferencepb.ModelInferRequest_InferInputTensor{{Name: "input", Datatype: "FP32", Shape: []int64{int64(n), features}}},
		})
	})
	return l, nil
}

func (l *grpcLoad) load(d time.Duration) (n int64, cpu time.Duration, err error) {
	ctx, cancel := context.WithTimeout(context.Background(), d+20*time.Second)
	defer cancel()
	before, err := cpuTime(l.server.cmd.Process.Pid)
	if err != nil {
		return 0, 0, err
	}
	var turn, answered atomic.Int64
	var failed atomic.Pointer[error]
	var callers sync.WaitGroup
	end := time.Now().Add(d)
	for _, client := range l.clients {
		callers.Go(func() {
			for time.Now().Before(end) && failed.Load() == nil {
				// Requests rotate over all cases: one repeated row would flatter branch prediction.
				if _, err := client.ModelInfer(ctx, l.requests[int(turn.Add(1))%len(l.requests)]); err != nil {
					failed.Store(&err)
					return
				}
				answered.Add(1)
			}
		})
	}
	callers.Wait()
	if err := failed.Load(); err != nil {
		return 0, 0, *err
	}
	after, err := cpuTime(l.server.cmd.Process.Pid)
	return answered.Load(), after - before, err
}

func (l *grpcLoad) verify(m *model, n int) (err error) {
	ctx, cancel := context.WithTimeout(context.Background(), time.Minute)
	defer cancel()
	turn := 0
	m.cases.batches(n, func(rows []int) {
		if err != nil {
			return
		}
		var answer *inferencepb.ModelInferResponse
		if answer, err = l.clients[0].ModelInfer(ctx, l.requests[turn]); err != nil {
			return
		}
		turn++
		if len(answer.RawOutputContents) != 1 {
			err = errors.New("no raw output")
			return
		}
		err = m.cases.check(m.column, rows, floats(answer.RawOutputContents[0]))
	})
	return err
}

// engine scores batches of 128 rows of loan-default in this process, without any server.
type engine struct {
	model   *tree.Model
	batches [][]float64
}

func newEngine(cases *caseTable) (*engine, error) {
	data, err := models.Repository.ReadFile("loan-default/1/model.json")
	if err != nil {
		return nil, err
	}
	ensemble, err := modelfile.Parse("model.json", data)
	if err != nil {
		return nil, err
	}
	compiled, err := tree.Compile(ensemble)
	if err != nil {
		return nil, err
	}
	e := &engine{model: compiled}
	cases.batches(128, func(rows []int) {
		var batch []float64
		for _, row := range rows {
			batch = append(batch, cases.values[row]...)
		}
		e.batches = append(e.batches, batch)
	})
	return e, nil
}

func (e *engine) load(d time.Duration) (n int64, cpu time.Duration, err error) {
	outputs := make([]float64, 128*e.model.Outputs())
	before := ownCPU()
	for end := time.Now().Add(d); time.Now().Before(end); n++ {
		if err := e.model.Predict(outputs, e.batches[int(n)%len(e.batches)]); err != nil {
			return 0, 0, err
		}
	}
	return n, ownCPU() - before, nil
}

func (e *engine) verify(*model, int) error { return nil }

// ownCPU is the CPU time of this thread, which the scheduler counts to the nanosecond.
func ownCPU() time.Duration {
	var used syscall.Rusage
	if err := syscall.Getrusage(syscall.RUSAGE_SELF, &used); err != nil {
		panic(err) // it takes nothing that could be wrong
	}
	return time.Duration(used.Utime.Nano() + used.Stime.Nano())
}
