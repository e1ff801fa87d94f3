package main

import (
	"encoding/json"
	"errors"
	"fmt"
	"net"
	"net/http"
	"os"
	"os/exec"
	"strings"
	"syscall"
	"time"

	"github.com/dougong-io/dougong/examples/models"
)

// installMLServer is run from bench.
const installMLServer = "../scripts/mlserver.sh"

// startMLServer starts MLServer with the model files that Dougong serves. It returns nil, and says so, where MLServer is not
// installed. What it does without is to its favour: worker processes, to which it would pass messages on, though all have
// the same processor, and its access log.
func startMLServer(dir, addr, grpc, metrics string) (*process, error) {
	check := exec.Command(installMLServer, "--check")
	check.Stderr = os.Stderr // says what is missing
	folder, err := check.Output()
	if err != nil {
		if missing := (*exec.ExitError)(nil); !errors.As(err, &missing) {
			fmt.Fprintf(os.Stderr, "MLServer is left out: %v; run this in bench\n", err)
		}
		return nil, nil
	}
	repository := dir + "/mlserver"
	for _, name := range []string{"loan-lite", "loan-default"} {
		if err := writeMLServerModel(repository+"/"+name, name); err != nil {
			return nil, err
		}
	}
	p := &process{addr: addr, grpc: grpc, cmd: exec.Command(strings.TrimSpace(string(folder))+"/bin/mlserver", "start", repository)}
	p.cmd.Env = append(os.Environ(), "MLSERVER_HOST=127.0.0.1", "MLSERVER_HTTP_PORT="+port(addr), "MLSERVER_GRPC_PORT="+port(grpc),
		"MLSERVER_METRICS_PORT="+port(metrics), "MLSERVER_PARALLEL_WORKERS=0", "MLSERVER_DEBUG=false", "OMP_NUM_THREADS=1")
	log := dir + "/mlserver.log"
	err = p.start(log)
	if err == nil {
		err = p.awaitModels("loan-lite", "loan-default")
	}
	if err == nil {
		err = p.awaitPorts()
	}
	if err != nil {
		if p.cmd.Process != nil {
			p.cmd.Process.Signal(syscall.SIGKILL)
			p.cmd.Wait()
		}
		said, _ := os.ReadFile(log)
		return nil, fmt.Errorf("MLServer: %w; it said:\n%s", err, said[max(0, len(said)-4000):])
	}
	return p, nil
}

// writeMLServerModel makes a folder that MLServer loads a model from.
func writeMLServerModel(folder, name string) error {
	file, err := models.Repository.ReadFile(name + "/1/model.json")
	if err != nil {
		return err
	}
	settings, err := json.Marshal(map[string]any{
		"name": name, "implementation": "mlserver_xgboost.XGBoostModel",
		"parameters": map[string]string{"uri": "./model.json", "version": "1"},
	})
	if err != nil {
		return err
	}
	if err := os.MkdirAll(folder, 0o755); err != nil {
		return err
	}
	if err := os.WriteFile(folder+"/model-settings.json", settings, 0o644); err != nil {
		return err
	}
	return os.WriteFile(folder+"/model.json", file, 0o644)
}

func port(addr string) string {
	_, port, err := net.SplitHostPort(addr)
	if err != nil {
		panic(err) // it is one of child.FreeAddrs
	}
	return port
}

// awaitModels returns once the server says that it is ready for each: it listens before it has loaded them, and from a cold
// disk its start takes longer than awaitPorts waits.
func (p *process) awaitModels(names ...string) error {
	client := http.Client{Timeout: 5 * time.Second}
	deadline := time.Now().Add(time.Minute)
	for _, name := range names {
		for {
			answer, err := client.Get("http://" + p.addr + "/v2/models/" + name + "/ready")
			if err == nil {
				answer.Body.Close()
				if answer.StatusCode == http.StatusOK {
					break
				}
				err = fmt.Errorf("status %s", answer.Status)
			}
			if time.Now().After(deadline) {
				return fmt.Errorf("%s is not ready after a minute: %w", name, err)
			}
			time.Sleep(50 * time.Millisecond)
		}
	}
	client.CloseIdleConnections()
	return nil
}
