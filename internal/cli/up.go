package cli

import (
	"context"
	"fmt"
	"os"
	"os/signal"
	"slices"
	"strings"
	"sync/atomic"
	"syscall"

	"github.com/spf13/cobra"

	"github.com/dougong-io/dougong/internal/app"
	"github.com/dougong-io/dougong/kit/lifecycle"
)

func newUp() *cobra.Command {
	var file string
	cmd := &cobra.Command{
		Use:   "up",
		Short: "Run all services in one process",
		Long: "Runs all services in one process. Without a configuration they serve the embedded demo on loopback.\n" +
			"SIGTERM or Ctrl-C drains and stops; a second one stops at once with exit code 130.",
		Example: "  dougong up\n  DOUGONG_HTTP_LISTEN=127.0.0.1:8000 dougong up --config dougong.yaml",
		Args:    args(cobra.NoArgs),
		RunE:    func(cmd *cobra.Command, _ []string) error { return serve(cmd, file, app.Services()) },
	}
	addConfigFlag(cmd, &file)
	return cmd
}

func newRun() *cobra.Command {
	var file string
	cmd := &cobra.Command{
		Use:       "run SERVICE…",
		Short:     "Run some services in one process",
		Long:      "Runs the services named. There are: " + strings.Join(app.Services(), ", ") + ".",
		Args:      args(cobra.MinimumNArgs(1)),
		ValidArgs: app.Services(),
		RunE: func(cmd *cobra.Command, names []string) error {
			for i, name := range names {
				if !slices.Contains(app.Services(), name) {
					return usageError{fmt.Errorf("unknown service %q; there are %s", name, strings.Join(app.Services(), ", "))}
				}
				if slices.Contains(names[:i], name) {
					return usageError{fmt.Errorf("service %s is named twice", name)}
				}
			}
			return serve(cmd, file, names)
		},
	}
	addConfigFlag(cmd, &file)
	return cmd
}

func addConfigFlag(cmd *cobra.Command, file *string) {
	cmd.Flags().StringVarP(file, "config", "c", "", "configuration file (default: built-in values; environment variables override)")
	_ = cmd.MarkFlagFilename("config", "yaml", "yml")
}

// serve runs services until a signal ends them.
func serve(cmd *cobra.Command, file string, services []string) error {
	cfg, err := loadConfig(file)
	if err != nil {
		return usageError{err}
	}
	// A reader of our output that goes away must not take the process with it.
	signal.Ignore(syscall.SIGPIPE)
	// Signals first: one that arrives while models are loading stops the process in order as well.
	var running atomic.Pointer[app.App]
	ctx, stop := lifecycle.Signals(context.Background(), func(code int) {
		if a := running.Load(); a != nil {
			a.Close() // the log says how it came to this
		}
		os.Exit(code)
	})
	defer stop()
	a, err := app.New(cfg, services, cmd.ErrOrStderr())
	if err != nil {
		return usageError{err}
	}
	running.Store(a)
	return a.Run(ctx, func() { fmt.Fprint(cmd.OutOrStdout(), a.Welcome()) })
}

func loadConfig(file string) (app.Config, error) {
	var data []byte
	if file != "" {
		var err error
		if data, err = os.ReadFile(file); err != nil {
			return app.Config{}, err
		}
	}
	return app.LoadConfig(file, data, os.Environ())
}
