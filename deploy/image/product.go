package main

import (
	"errors"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"time"
)

// devVersion is that of an image between releases.
const devVersion = "dev"

// product is all that goes into one image and its documents.
type product struct {
	name, version string
	builder       string
	created       time.Time
	binary        binary
	command       command // none: the binary was brought along
	certificates  []byte  // PEM; none: no authorities
}

func (p product) ref() string { return p.name + ":" + p.version }

var (
	nameForm = regexp.MustCompile(`^[a-z0-9.-]+(:[0-9]+)?(/[a-z0-9]+((\.|_|__|-+)[a-z0-9]+)*)+$`)
	tagForm  = regexp.MustCompile(`^[A-Za-z0-9_][A-Za-z0-9_.-]{0,127}$`)
)

func isName(s string) bool { return len(s) <= 255 && nameForm.MatchString(s) }
func isTag(s string) bool  { return tagForm.MatchString(s) }

// documentFiles are the files beside an image.
func documentFiles(image string) (sbom, provenance string) {
	stem := strings.TrimSuffix(image, filepath.Ext(image))
	return stem + ".spdx.json", stem + ".provenance.json"
}

// write makes the image and its documents. What was there before is replaced when all is made.
func (p product) write(file string) error {
	img, err := p.image()
	if err != nil {
		return err
	}
	digest, err := img.Digest()
	if err != nil {
		return err
	}
	sbom, err := p.sbom(digest)
	if err != nil {
		return err
	}
	provenance, err := p.provenance(digest)
	if err != nil {
		return err
	}
	archive, err := p.layout(img, []artifact{
		{kind: mediaSPDX, title: "sbom.spdx.json", data: sbom},
		{kind: mediaInToto, title: "provenance.json", data: provenance},
	})
	if err != nil {
		return err
	}
	if err := os.MkdirAll(filepath.Dir(file), 0o755); err != nil {
		return err
	}
	sbomFile, provenanceFile := documentFiles(file)
	for _, f := range []struct {
		name string
		data []byte
	}{{sbomFile, sbom}, {provenanceFile, provenance}, {file, archive}} {
		if err := replace(f.name, f.data); err != nil {
			return err
		}
	}
	return nil
}

// replace writes a file whole or not at all.
func replace(file string, data []byte) error {
	f, err := os.CreateTemp(filepath.Dir(file), "."+filepath.Base(file)+"-")
	if err != nil {
		return err
	}
	_, err = f.Write(data)
	err = errors.Join(err, f.Chmod(0o644), f.Close())
	if err == nil {
		err = os.Rename(f.Name(), file)
	}
	if err != nil {
		os.Remove(f.Name())
	}
	return err
}
