package main

import (
	"bytes"
	"compress/gzip"
	"fmt"
	"io"
	"time"

	v1 "github.com/google/go-containerregistry/pkg/v1"
	"github.com/google/go-containerregistry/pkg/v1/empty"
	"github.com/google/go-containerregistry/pkg/v1/mutate"
	"github.com/google/go-containerregistry/pkg/v1/tarball"
	"github.com/google/go-containerregistry/pkg/v1/types"
)

// What the image promises to whoever deploys it.
const (
	binaryFile      = "dougong"
	certificateFile = "etc/ssl/certs/ca-certificates.crt" // where Go looks first
	user            = "65532:65532"
	hardenedEnv     = "DOUGONG_HARDENING_ENABLED=true"
	repository      = "https://github.com/dougong-io/dougong"
)

var (
	entrypoint = []string{"/" + binaryFile}
	arguments  = []string{"run", "inference"}
	ports      = []string{"8080/tcp", "8081/tcp", "9090/tcp"} // HTTP, gRPC, admin
)

// image is one layer and what to do with it.
func (p product) image() (v1.Image, error) {
	layer, err := p.layer()
	if err != nil {
		return nil, err
	}
	created := v1.Time{Time: p.created}
	base := mutate.ConfigMediaType(mutate.MediaType(empty.Image, types.OCIManifestSchema1), types.OCIConfigJSON)
	img, err := mutate.Append(base, mutate.Addendum{
		Layer:   layer,
		History: v1.History{Created: created, CreatedBy: "deploy/image", Comment: "the binary alone"},
	})
	if err != nil {
		return nil, err
	}
	cfg, err := img.ConfigFile()
	if err != nil {
		return nil, err
	}
	cfg = cfg.DeepCopy()
	cfg.OS, cfg.Architecture, cfg.Created = p.binary.settings["GOOS"], p.binary.settings["GOARCH"], created
	cfg.Config = v1.Config{
		User:         user,
		Entrypoint:   entrypoint,
		Cmd:          arguments,
		Env:          []string{hardenedEnv},
		ExposedPorts: map[string]struct{}{},
		Labels:       p.labels(),
		WorkingDir:   "/",
		StopSignal:   "SIGTERM",
	}
	for _, port := range ports {
		cfg.Config.ExposedPorts[port] = struct{}{}
	}
	if img, err = mutate.ConfigFile(img, cfg); err != nil {
		return nil, err
	}
	return mutate.Annotations(img, p.labels()).(v1.Image), nil
}

// labels are the annotations that the OCI image specification defines; they stand in the configuration, where
// engines show them, and on the manifest, where registries do.
func (p product) labels() map[string]string {
	const at = "org.opencontainers.image."
	return map[string]string{
		at + "title":         "dougong",
		at + "description":   "Services that stay up under load, faults and rollouts",
		at + "url":           repository,
		at + "source":        repository,
		at + "documentation": repository + "/blob/main/docs/image.md",
		at + "vendor":        "Dougong",
		at + "licenses":      "Apache-2.0",
		at + "version":       p.version,
		at + "revision":      p.binary.revision,
		at + "created":       p.created.Format(time.RFC3339),
	}
}

// layer holds the files, which belong to root and which nobody may change. There is no /tmp, and no name for the user.
func (p product) layer() (v1.Layer, error) {
	a := newArchiver(p.created)
	if err := a.add(binaryFile, 0o555, p.binary.data); err != nil {
		return nil, err
	}
	if p.certificates != nil {
		for _, dir := range []string{"etc/", "etc/ssl/", "etc/ssl/certs/"} {
			if err := a.add(dir, 0o555, nil); err != nil {
				return nil, err
			}
		}
		if err := a.add(certificateFile, 0o444, p.certificates); err != nil {
			return nil, err
		}
	}
	data, err := a.bytes()
	if err != nil {
		return nil, err
	}
	open := func() (io.ReadCloser, error) { return io.NopCloser(bytes.NewReader(data)), nil }
	layer, err := tarball.LayerFromOpener(open, tarball.WithCompressionLevel(gzip.BestCompression), tarball.WithMediaType(types.OCILayer), tarball.WithCompressedCaching)
	if err != nil {
		return nil, fmt.Errorf("layer: %w", err)
	}
	return layer, nil
}
