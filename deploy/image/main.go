package main

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"io"
	"os"
	"os/signal"
	"path/filepath"
	"runtime"
	"strconv"
	"strings"
	"syscall"
	"time"
)

// Exit codes.
const (
	exitOK      = 0
	exitFailure = 1
	exitUsage   = 2
)

func main() {
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	code := run(ctx, os.Args[1:], os.Environ(), os.Stdout, os.Stderr)
	stop()
	os.Exit(code)
}

// options are those of the command line.
type options struct {
	source, binary, certificates string
	out, name, version, platform string
	builder                      string
	check                        bool
}

func run(ctx context.Context, args, environ []string, stdout, stderr io.Writer) int {
	var o options
	flags := flag.NewFlagSet("image", flag.ContinueOnError)
	flags.SetOutput(stderr)
	flags.StringVar(&o.out, "o", "../../bin/dougong-image.tar", "the image; the documents lie beside it, as NAME.spdx.json and NAME.provenance.json")
	flags.StringVar(&o.source, "source", "../..", "the root of the repository")
	flags.StringVar(&o.binary, "binary", "", "pack this binary, which must be static and know its commit, instead of building one")
	flags.StringVar(&o.platform, "platform", "linux/"+runtime.GOARCH, "what to build for: linux/amd64 or linux/arm64")
	flags.StringVar(&o.name, "name", "ghcr.io/dougong-io/dougong", "repository of the image")
	flags.StringVar(&o.version, "version", devVersion, "tag of the image, and its version; only "+devVersion+" may hold changes that are not committed")
	flags.StringVar(&o.certificates, "ca-certificates", "", "a PEM file of authorities to put in, for TLS to servers with public certificates (default: none)")
	flags.StringVar(&o.builder, "builder", "https://github.com/dougong-io/dougong/deploy/image", "who builds, a URI, for the provenance")
	flags.BoolVar(&o.check, "check", false, "judge the image instead of building it")
	if err := flags.Parse(args); errors.Is(err, flag.ErrHelp) {
		return exitOK
	} else if err != nil {
		return exitUsage
	}
	if err := o.validate(flags.Args()); err != nil {
		fmt.Fprintln(stderr, err)
		return exitUsage
	}
	do := func() error { return create(ctx, o, environ, stdout, stderr) }
	if o.check {
		do = func() error { return checkFile(o.out, stdout) }
	}
	if err := do(); err != nil {
		fmt.Fprintf(stderr, "image: %v\n", err)
		return exitFailure
	}
	return exitOK
}

func (o options) validate(rest []string) error {
	var faults []error
	if len(rest) > 0 {
		faults = append(faults, fmt.Errorf("unexpected %q: all is said by flags", rest[0]))
	}
	if o.platform != "linux/amd64" && o.platform != "linux/arm64" {
		faults = append(faults, fmt.Errorf("-platform: %q is neither linux/amd64 nor linux/arm64", o.platform))
	}
	if !isName(o.name) {
		faults = append(faults, fmt.Errorf("-name: %q is no repository of images, such as ghcr.io/dougong-io/dougong", o.name))
	}
	if !isTag(o.version) {
		faults = append(faults, fmt.Errorf("-version: %q is no tag: letters, digits, _, . and -, at most 128", o.version))
	}
	if !strings.Contains(o.builder, ":") {
		faults = append(faults, fmt.Errorf("-builder: %q is no URI", o.builder))
	}
	return errors.Join(faults...)
}

// create builds all and judges it before it is left behind.
func create(ctx context.Context, o options, environ []string, stdout, stderr io.Writer) error {
	p := product{name: o.name, version: o.version, builder: o.builder}
	file := o.binary
	if file == "" {
		dir, err := os.MkdirTemp("", "dougong-image-")
		if err != nil {
			return err
		}
		defer os.RemoveAll(dir)
		file = filepath.Join(dir, "dougong")
		p.command = buildCommand(o.platform)
		if err := p.command.run(ctx, o.source, file, stderr); err != nil {
			return err
		}
	}
	var err error
	if p.binary, err = readBinary(file); err != nil {
		return err
	}
	if p.binary.modified && o.version != devVersion {
		return fmt.Errorf("%s holds changes that are not committed: commit them, or leave out -version", file)
	}
	if p.binary.platform() != o.platform {
		return fmt.Errorf("%s is for %s; say so with -platform", file, p.binary.platform())
	}
	if p.created, err = creation(environ, p.binary); err != nil {
		return err
	}
	if o.certificates != "" {
		if p.certificates, err = readCertificates(o.certificates); err != nil {
			return err
		}
	}
	if err := p.write(o.out); err != nil {
		return err
	}
	return checkFile(o.out, stdout)
}

// creation is the time that everything bears.
func creation(environ []string, b binary) (time.Time, error) {
	for _, e := range environ {
		value, ok := strings.CutPrefix(e, "SOURCE_DATE_EPOCH=")
		if !ok || value == "" {
			continue
		}
		seconds, err := strconv.ParseInt(value, 10, 64)
		if err != nil || seconds < 0 || seconds > 1<<33-1 { // what a tar header holds
			return time.Time{}, fmt.Errorf("SOURCE_DATE_EPOCH: %q is no number of seconds since 1970", value)
		}
		return time.Unix(seconds, 0).UTC(), nil
	}
	return b.committed, nil
}
