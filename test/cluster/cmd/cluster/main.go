// Command cluster starts and ends a real Kubernetes on this machine, for tests. It needs root.
//
//	go run ./cmd/cluster up [-dir DIR] [-nodes 2] [-port 16443] [IMAGE.tar …]
//	go run ./cmd/cluster build [-check]
//	go run ./cmd/cluster status [-dir DIR]
//	go run ./cmd/cluster enter [-dir DIR] -- kubectl get pods
//	go run ./cmd/cluster load [-dir DIR] IMAGE.tar …
//	go run ./cmd/cluster down [-dir DIR]
package main

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"os"
	"os/exec"
	"os/signal"
	"path/filepath"
	"syscall"
	"time"

	"github.com/dougong-io/dougong/test/cluster"
)

func main() {
	cluster.First()
	ctx, stop := signal.NotifyContext(context.Background(), syscall.SIGINT, syscall.SIGTERM)
	defer stop()
	if err := run(ctx, os.Args[1:]); err != nil {
		var ended *exec.ExitError
		if os.Args[1] == "enter" && errors.As(err, &ended) && ended.ExitCode() > 0 { // the command has said why
			os.Exit(ended.ExitCode())
		}
		fmt.Fprintln(os.Stderr, "cluster:", err)
		os.Exit(1)
	}
}

const usage = "usage: cluster up|build|status|enter|load|down [-dir DIR] …; see the comment of cmd/cluster"

func run(ctx context.Context, args []string) error {
	if len(args) == 0 {
		return errors.New(usage)
	}
	config := cluster.DefaultConfig()
	config.Progress = os.Stderr
	flags := flag.NewFlagSet("cluster "+args[0], flag.ContinueOnError)
	flags.StringVar(&config.Dir, "dir", config.Dir, "folder of its state")
	if args[0] == "up" {
		flags.IntVar(&config.Nodes, "nodes", config.Nodes, "how many nodes, 1 to 9")
		flags.IntVar(&config.Port, "port", config.Port, "port of 127.0.0.1 for the API; 0 takes a free one")
	}
	var check bool
	if args[0] == "build" {
		flags.BoolVar(&check, "check", false, "build nothing, and fail if there is something to build")
	}
	if err := flags.Parse(args[1:]); err != nil {
		return fmt.Errorf("read the flags: %w", err)
	}
	dir, err := filepath.Abs(config.Dir)
	if err != nil {
		return fmt.Errorf("find the folder: %w", err)
	}
	config.Dir = dir
	switch args[0] {
	case "up":
		config.Images = flags.Args()
		return up(ctx, config)
	case "build":
		if check {
			return cluster.Built(ctx)
		}
		folder, err := cluster.Build(ctx, os.Stderr)
		if err == nil {
			fmt.Println(folder)
		}
		return err
	case "status":
		text, err := cluster.Status(ctx, dir)
		fmt.Print(text)
		return err
	case "enter":
		return enter(ctx, dir, flags.Args())
	case "load":
		return load(ctx, dir, flags.Args())
	case "down":
		ctx, cancel := context.WithTimeout(ctx, time.Minute)
		defer cancel()
		return cluster.Down(ctx, dir)
	}
	return errors.New(usage)
}

func up(ctx context.Context, config cluster.Config) error {
	begun := time.Now()
	c, err := cluster.Up(ctx, config)
	if errors.Is(err, cluster.ErrRunning) {
		return fmt.Errorf("%s: %w", config.Dir, err)
	}
	if err != nil {
		return err
	}
	fmt.Printf("up in %.1f s\n%s", time.Since(begun).Seconds(), c.Hint())
	return nil
}

func enter(ctx context.Context, dir string, command []string) error {
	c, err := cluster.Attach(dir)
	if err != nil {
		return err
	}
	if len(command) == 0 {
		command = []string{"bash"}
	}
	cmd := c.Command(ctx, command[0], command[1:]...)
	cmd.Stdin, cmd.Stdout, cmd.Stderr = os.Stdin, os.Stdout, os.Stderr
	return cmd.Run()
}

func load(ctx context.Context, dir string, images []string) error {
	c, err := cluster.Attach(dir)
	if err != nil {
		return err
	}
	for _, image := range images {
		if err := c.Load(ctx, image); err != nil {
			return err
		}
	}
	return nil
}
