package etcdserver

import (
	"fmt"
	"io"
	"net/url"
	"os"
	"time"

	"go.etcd.io/etcd/server/v3/embed"
)

// What the parent tells the child in the environment.
const (
	envDir    = "DOUGONG_TEST_ETCD_DIR"
	envClient = "DOUGONG_TEST_ETCD_CLIENT"
	envPeer   = "DOUGONG_TEST_ETCD_PEER"
)

const readyLine = "etcd is ready"

// IsChild reports whether this process is to be an etcd.
func IsChild() bool { return os.Getenv(envDir) != "" }

// Serve is etcd until the standard input ends, which is when the parent does. It returns the exit code.
func Serve() int {
	config := embed.NewConfig()
	config.Dir = os.Getenv(envDir)
	config.Name = "test"
	config.LogLevel = "error"
	config.LogOutputs = []string{"stderr"}
	client, peer := url.URL{Scheme: "http", Host: os.Getenv(envClient)}, url.URL{Scheme: "http", Host: os.Getenv(envPeer)}
	config.ListenClientUrls, config.AdvertiseClientUrls = []url.URL{client}, []url.URL{client}
	config.ListenPeerUrls, config.AdvertisePeerUrls = []url.URL{peer}, []url.URL{peer}
	config.InitialCluster = config.InitialClusterFromName(config.Name)
	// The least that etcd allows: a restart is over in a second.
	config.TickMs, config.ElectionMs = 50, 500
	server, err := embed.StartEtcd(config)
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		return 1
	}
	defer server.Close()
	select {
	case <-server.Server.ReadyNotify():
	case <-time.After(readyTimeout):
		fmt.Fprintln(os.Stderr, "etcd is not ready in time")
		return 1
	case err := <-server.Err():
		fmt.Fprintln(os.Stderr, err)
		return 1
	}
	fmt.Println(readyLine)
	_, _ = io.Copy(io.Discard, os.Stdin)
	return 0
}
