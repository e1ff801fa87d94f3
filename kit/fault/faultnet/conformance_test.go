package faultnet

import (
	"bytes"
	"io"
	"net"
	"os"
	"sync"
	"testing"
	"time"

	"github.com/dougong-io/dougong/kit/fault"
	"github.com/dougong-io/dougong/kit/fault/faulttest"
)

// TestConnKeepsTheContractOfNet holds what package net promises of connections against ours: off, with a rule that
// matches nothing, and with one that delays.
func TestConnKeepsTheContractOfNet(t *testing.T) {
	rules := map[string]*fault.Rule{
		"off":      nil,
		"no match": {Point: "n.*", Where: map[string]string{"remote": "nobody"}, Error: &fault.Failure{}},
		"delayed":  {Point: "n.*", Every: 7, Delay: &fault.Delay{Fixed: 50 * time.Microsecond}},
	}
	for name, rule := range rules {
		t.Run(name, func(t *testing.T) {
			for name, check := range map[string]func(t *testing.T, a, b net.Conn){
				"bytes arrive whole and in order": bytesArrive,
				"reads end at deadlines":          readsEnd,
				"writes end at deadlines":         writesEnd,
				"a past deadline ends at once":    pastDeadline,
				"close ends both ways":            closeEnds,
				"all methods at once":             allMethods,
			} {
				t.Run(name, func(t *testing.T) {
					set, l := listen(t)
					if rule != nil {
						faulttest.Put(t, set, *rule)
					}
					peer, err := Dial((&net.Dialer{}).DialContext, points(set))(t.Context(), "tcp", l.Addr().String())
					if err != nil {
						t.Fatal(err)
					}
					c, err := l.Accept()
					if err != nil {
						t.Fatal(err)
					}
					defer c.Close()
					defer peer.Close()
					check(t, c, peer)
				})
			}
		})
	}
}

func bytesArrive(t *testing.T, a, b net.Conn) {
	sent := bytes.Repeat([]byte("the quick brown fox "), 50_000)
	var both sync.WaitGroup
	for _, way := range [][2]net.Conn{{a, b}, {b, a}} {
		both.Go(func() {
			for rest := sent; len(rest) > 0; {
				n, err := way[0].Write(rest[:min(len(rest), 8191)])
				if err != nil {
					t.Error(err)
					return
				}
				rest = rest[n:]
			}
		})
		both.Go(func() {
			got := make([]byte, len(sent))
			if _, err := io.ReadFull(way[1], got); err != nil || !bytes.Equal(got, sent) {
				t.Error("other bytes", err)
			}
		})
	}
	both.Wait()
}

func isTimeout(t *testing.T, err error) {
	t.Helper()
	if e, ok := err.(net.Error); !ok || !e.Timeout() || !os.IsTimeout(err) {
		t.Errorf("%v is no timeout", err)
	}
}

func readsEnd(t *testing.T, a, _ net.Conn) {
	_ = a.SetReadDeadline(time.Now().Add(20 * time.Millisecond))
	n, err := a.Read(make([]byte, 10))
	if n != 0 {
		t.Error(n)
	}
	isTimeout(t, err)
	done := make(chan error, 1)
	_ = a.SetReadDeadline(time.Time{})
	go func() { _, err := a.Read(make([]byte, 10)); done <- err }()
	_ = a.SetReadDeadline(time.Now().Add(20 * time.Millisecond)) // before or after the read has begun
	isTimeout(t, <-done)
}

func writesEnd(t *testing.T, a, _ net.Conn) {
	_ = a.SetWriteDeadline(time.Now().Add(50 * time.Millisecond))
	var err error
	for b := make([]byte, 1<<20); err == nil; {
		_, err = a.Write(b)
	}
	isTimeout(t, err)
}

func pastDeadline(t *testing.T, a, b net.Conn) {
	_ = a.SetDeadline(time.Now().Add(-time.Hour))
	_, err := a.Read(make([]byte, 1))
	isTimeout(t, err)
	_, err = a.Write(make([]byte, 1))
	isTimeout(t, err)
	_ = a.SetDeadline(time.Time{})
	if _, err := a.Write([]byte("x")); err != nil {
		t.Error(err)
	}
	if _, err := b.Read(make([]byte, 1)); err != nil {
		t.Error(err)
	}
}

func closeEnds(t *testing.T, a, b net.Conn) {
	var calls sync.WaitGroup
	for range 4 {
		calls.Go(func() {
			if _, err := a.Read(make([]byte, 1)); err == nil {
				t.Error("read something")
			}
		})
	}
	if err := a.Close(); err != nil {
		t.Error(err)
	}
	calls.Wait()
	if _, err := a.Write([]byte("x")); err == nil {
		t.Error("wrote after Close")
	}
	if _, err := b.Read(make([]byte, 1)); err != io.EOF {
		t.Error(err)
	}
}

func allMethods(t *testing.T, a, b net.Conn) {
	go func() { _, _ = io.Copy(b, b) }()
	var calls sync.WaitGroup
	for range 20 {
		calls.Go(func() { _, _ = a.Read(make([]byte, 1024)) })
		calls.Go(func() { _, _ = a.Write(make([]byte, 1024)) })
		calls.Go(func() { _ = a.SetDeadline(time.Now().Add(10 * time.Millisecond)) })
		calls.Go(func() { _ = a.SetReadDeadline(time.Now().Add(10 * time.Millisecond)) })
		calls.Go(func() { _ = a.SetWriteDeadline(time.Now().Add(10 * time.Millisecond)) })
		calls.Go(func() { _, _ = a.LocalAddr(), a.RemoteAddr() })
	}
	calls.Wait()
	_ = a.Close()
}
