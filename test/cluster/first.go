package cluster

import (
	"context"
	"crypto/tls"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"os"
	"path/filepath"
	"strconv"
	"sync"
	"syscall"
	"time"
)

// firstEnv tells a process that it is a cluster's first, and which folder is the cluster's.
const firstEnv = "DOUGONG_CLUSTER_FIRST"

// The files that Up leaves to a first process.
const (
	lockFD = 3 + iota // locked as long as it lives
	listenerFD
	lifeFD // ends when the caller of Up does; only of a tied cluster
)

// First returns at once, unless the process is a cluster's first: then it serves as that, and never returns. A main
// package or a TestMain that calls Up or Start calls it before all else.
func First() {
	dir := os.Getenv(firstEnv)
	if dir == "" {
		return
	}
	os.Unsetenv(firstEnv)
	f := &first{reaper: newReaper(), api: &http.Client{
		Timeout:   2 * time.Second,
		Transport: &http.Transport{TLSClientConfig: &tls.Config{InsecureSkipVerify: true}}, // asked whether it is ready, no more
	}}
	err := f.serve(dir)
	f.phase(phaseFailed, err.Error())
	fmt.Fprintln(os.Stderr, "cluster:", err)
	os.Exit(1) // and all that is in the namespace with it
}

// The phases of a first process, in the file status.json.
const (
	phaseStarting = "starting"
	phaseServing  = "serving" // the API is ready
	phaseStarted  = "started" // all programs run, and the nodes have their images
	phaseFailed   = "failed"
)

type phase struct {
	Phase string `json:"phase"`
	What  string `json:"what"`
}

type first struct {
	plan
	reaper *reaper
	log    *os.File
	api    *http.Client

	mu     sync.Mutex // of status.json
	failed bool
}

// phase tells who looks from outside. A failure stays.
func (f *first) phase(name, what string) {
	f.mu.Lock()
	defer f.mu.Unlock()
	if f.failed {
		return
	}
	f.failed = name == phaseFailed
	data, _ := json.Marshal(phase{name, what})
	path := filepath.Join(inside, "status.json")
	if os.WriteFile(path+".new", data, 0o600) == nil {
		_ = os.Rename(path+".new", path)
	}
}

// serve sets the namespaces up, starts everything, and returns when the first of its programs ends: a cluster without one
// is none.
func (f *first) serve(dir string) error {
	data, err := os.ReadFile(filepath.Join(dir, "first.json"))
	if err != nil {
		return fmt.Errorf("read what to start: %w", err)
	}
	if err := json.Unmarshal(data, &f.plan); err != nil {
		return fmt.Errorf("read what to start: %w", err)
	}
	if err := enterCgroups(f.Cgroup); err != nil {
		return err
	}
	syscall.CloseOnExec(lockFD) // else a program that outlived us would hold it
	syscall.CloseOnExec(listenerFD)
	if f.Tied {
		syscall.CloseOnExec(lifeFD)
		go func() {
			_, _ = os.NewFile(lifeFD, "life").Read(make([]byte, 1))
			os.Exit(1)
		}()
	}
	if err := mountAll(dir); err != nil {
		return err
	}
	f.phase(phaseStarting, "the network")
	if f.log, err = os.Create(filepath.Join(inside, "log", "commands.log")); err != nil {
		return fmt.Errorf("open a log: %w", err)
	}
	go f.reaper.run()
	if err := f.network(); err != nil {
		return err
	}
	listener, err := net.FileListener(os.NewFile(listenerFD, "listener"))
	if err != nil {
		return fmt.Errorf("take over the API's port: %w", err)
	}
	go forward(listener, net.JoinHostPort(apiAddress, strconv.Itoa(f.Port)))
	return f.programs()
}

// programs starts all in order, and returns when one of them has ended or could not be started.
func (f *first) programs() error {
	ended := make(chan error, 16)
	start := func(p program) {
		if err := f.start(p, ended); err != nil {
			ended <- err
		}
	}
	go func() {
		f.phase(phaseStarting, "etcd and the API server")
		start(f.store())
		start(f.apiServer())
		images := make(chan error, f.Nodes)
		for _, node := range nodeNames(f.Nodes) {
			start(f.runtime(node))
			go func() { images <- f.images(node) }()
		}
		if err := f.awaitAPI(); err != nil {
			ended <- err
			return
		}
		f.phase(phaseServing, "the controllers and the nodes")
		for _, p := range f.others() {
			start(p)
		}
		for range f.Nodes {
			if err := <-images; err != nil {
				ended <- err
				return
			}
		}
		f.phase(phaseStarted, "")
	}()
	return <-ended
}

func (f *first) start(p program, ended chan<- error) error {
	log, err := os.Create(filepath.Join(inside, "log", p.name+".log"))
	if err != nil {
		return fmt.Errorf("open a log: %w", err)
	}
	defer log.Close()
	end, err := f.reaper.start(log, p.env, p.args[0], p.args[1:]...)
	if err != nil {
		return err
	}
	go func() {
		ended <- fmt.Errorf("%s %s; see its log, %s.log", p.name, describe(<-end), p.name)
	}()
	return nil
}

// awaitAPI waits until the API server says that it is ready.
func (f *first) awaitAPI() error {
	url := "https://" + net.JoinHostPort(apiAddress, strconv.Itoa(f.Port)) + "/readyz"
	for end := time.Now().Add(2 * time.Minute); time.Now().Before(end); time.Sleep(50 * time.Millisecond) {
		resp, err := f.api.Get(url)
		if err != nil {
			continue
		}
		_, _ = io.Copy(io.Discard, io.LimitReader(resp.Body, 1<<20))
		resp.Body.Close()
		if resp.StatusCode == http.StatusOK {
			return nil
		}
	}
	return errors.New("the API server is not ready after two minutes; see its log, kube-apiserver.log")
}

// images loads the images into a node's containerd, as soon as that listens.
func (f *first) images(node string) error {
	ctx, cancel := context.WithTimeout(context.Background(), time.Minute)
	defer cancel()
	for {
		conn, err := net.Dial("unix", containerdSocket(node))
		if err == nil {
			conn.Close()
			break
		}
		select {
		case <-ctx.Done():
			return fmt.Errorf("containerd of %s does not listen; see its log, %[1]s.containerd.log", node)
		case <-time.After(20 * time.Millisecond):
		}
	}
	for _, image := range append([]string{filepath.Join(f.Bin, "pause.tar")}, f.Images...) {
		if err := f.reaper.do(f.log, "ctr", importArguments(node, image)...); err != nil {
			return fmt.Errorf("load %s on %s: %w", image, node, err)
		}
	}
	return nil
}

// connections bounds those that are forwarded at once; more wait in the kernel.
const connections = 512

// forward joins connections from the machine, whose port the listener is, with the API server, which only this network
// namespace reaches.
func forward(listener net.Listener, to string) {
	slots := make(chan struct{}, connections)
	for {
		slots <- struct{}{}
		conn, err := listener.Accept()
		if errors.Is(err, net.ErrClosed) {
			return
		}
		if err != nil { // such as too many open files
			<-slots
			time.Sleep(50 * time.Millisecond)
			continue
		}
		go func() {
			defer func() { <-slots }()
			defer conn.Close()
			server, err := net.DialTimeout("tcp", to, 5*time.Second)
			if err != nil {
				return
			}
			defer server.Close()
			join(conn, server)
		}()
	}
}

func join(a, b net.Conn) {
	var wg sync.WaitGroup
	one := func(to, from net.Conn) {
		_, _ = io.Copy(to, from)
		if half, ok := to.(interface{ CloseWrite() error }); ok {
			_ = half.CloseWrite()
		}
	}
	wg.Go(func() { one(a, b) })
	wg.Go(func() { one(b, a) })
	wg.Wait()
}
