package config_test

import (
	"errors"
	"fmt"
	"os"
	"time"

	"github.com/dougong-io/dougong/internal/config"
)

type serverConfig struct {
	Listen  string        `json:"listen" doc:"Address to listen on."`
	Timeout time.Duration `json:"timeout" doc:"How long a request may take."`
}

func (c serverConfig) Validate() error {
	if c.Timeout <= 0 {
		return errors.New("timeout: must be positive")
	}
	return nil
}

func ExampleLoad() {
	cfg := serverConfig{Listen: "127.0.0.1:8080", Timeout: 30 * time.Second}
	err := config.Load("dougong.yaml", []byte("timeout: 5s\n"), []string{"DOUGONG_LISTEN=:80"}, &cfg)
	fmt.Println(cfg, err)

	fmt.Println(config.Load("dougong.yaml", []byte("listne: x\ntimeout: 0s\n"), nil, &cfg))
	// Output:
	// {:80 5s} <nil>
	// dougong.yaml:1:1: listne: unknown key; did you mean "listen"?
	// dougong.yaml:2:1: timeout: must be positive
}

func ExampleDefault() {
	cfg := serverConfig{Listen: "127.0.0.1:8080", Timeout: 30 * time.Second}
	if err := config.Default(os.Stdout, cfg); err != nil {
		fmt.Println(err)
	}
	// Output:
	// # Address to listen on.
	// listen: "127.0.0.1:8080"
	//
	// # How long a request may take.
	// timeout: 30s
}
