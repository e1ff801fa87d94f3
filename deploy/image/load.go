package main

import (
	"archive/tar"
	"bytes"
	"compress/gzip"
	"encoding/json"
	"errors"
	"fmt"
	"io"

	v1 "github.com/google/go-containerregistry/pkg/v1"
	"github.com/google/go-containerregistry/pkg/v1/types"
)

// Bounds of what is read of an image that is judged.
const (
	maxArchive = 256 << 20
	maxFiles   = 1000
)

// loaded is an image as it was found in a tar file, with all that its digests vouch for.
type loaded struct {
	desc      v1.Descriptor
	config    v1.ConfigFile
	files     []file // of the root file system
	unpacked  int64  // bytes of those
	packed    int64  // bytes of the layers, as they are carried
	documents map[types.MediaType][]byte
	sources   map[types.MediaType]v1.Descriptor // the manifests of the documents
}

// file is one of the root file system.
type file struct {
	head *tar.Header
	data []byte
}

// load reads a tar file that layout wrote, and refuses every other: a blob that is not its digest, or that nothing
// leads to, a second image, a document that is not about the image.
func load(data []byte) (*loaded, error) {
	entries, err := readArchive(bytes.NewReader(data))
	if err != nil {
		return nil, err
	}
	store := contents{}
	for _, f := range entries {
		if _, twice := store[f.head.Name]; twice {
			return nil, fmt.Errorf("%s is there twice", f.head.Name)
		}
		store[f.head.Name] = f.data
	}
	if got := string(store["oci-layout"]); got != layoutVersion {
		return nil, fmt.Errorf("oci-layout: %q, want %q", got, layoutVersion)
	}
	var index v1.IndexManifest
	if err := json.Unmarshal(store["index.json"], &index); err != nil {
		return nil, fmt.Errorf("index.json: %w", err)
	}
	l := &loaded{documents: map[types.MediaType][]byte{}, sources: map[types.MediaType]v1.Descriptor{}}
	used := map[string]bool{"oci-layout": true, "index.json": true, "manifest.json": true, "blobs/": true, "blobs/sha256/": true}
	for _, desc := range index.Manifests {
		var m v1.Manifest
		if err := store.decode(desc, &m, used); err != nil {
			return nil, fmt.Errorf("manifest %s: %w", desc.Digest, err)
		}
		if m.Subject == nil {
			err = l.addImage(store, desc, m, used)
		} else {
			err = l.addDocument(store, desc, m, used)
		}
		if err != nil {
			return nil, fmt.Errorf("manifest %s: %w", desc.Digest, err)
		}
	}
	if l.desc.Annotations[annotationName] == "" {
		return nil, errors.New("index.json: no image with a name")
	}
	for name := range store {
		if !used[name] {
			return nil, fmt.Errorf("%s: nothing leads to it", name)
		}
	}
	return l, nil
}

func (l *loaded) addImage(store contents, desc v1.Descriptor, m v1.Manifest, used map[string]bool) error {
	if l.desc.Size != 0 {
		return errors.New("a second image")
	}
	l.desc = desc
	if err := store.decode(m.Config, &l.config, used); err != nil {
		return fmt.Errorf("configuration: %w", err)
	}
	if len(l.config.RootFS.DiffIDs) != len(m.Layers) {
		return fmt.Errorf("%d layers, and the configuration has %d", len(m.Layers), len(l.config.RootFS.DiffIDs))
	}
	for i, layer := range m.Layers {
		packed, err := store.blob(layer, used)
		if err != nil {
			return fmt.Errorf("layer: %w", err)
		}
		l.packed += layer.Size
		unzip, err := gzip.NewReader(bytes.NewReader(packed))
		if err != nil {
			return fmt.Errorf("layer: %w", err)
		}
		data, err := io.ReadAll(io.LimitReader(unzip, maxArchive+1))
		if err != nil {
			return fmt.Errorf("layer: %w", err)
		}
		if len(data) > maxArchive {
			return fmt.Errorf("layer: more than %d bytes", maxArchive)
		}
		if err := digestOf(data, l.config.RootFS.DiffIDs[i]); err != nil {
			return fmt.Errorf("layer, unpacked: %w", err)
		}
		files, err := readArchive(bytes.NewReader(data))
		if err != nil {
			return fmt.Errorf("layer: %w", err)
		}
		for _, f := range files {
			l.unpacked += int64(len(f.data))
		}
		l.files = append(l.files, files...)
	}
	return nil
}

func (l *loaded) addDocument(store contents, desc v1.Descriptor, m v1.Manifest, used map[string]bool) error {
	if m.Subject.Digest != l.desc.Digest || m.Subject.Size != l.desc.Size {
		return fmt.Errorf("is about %s, not about the image before it", m.Subject.Digest)
	}
	if _, err := store.blob(m.Config, used); err != nil {
		return err
	}
	if len(m.Layers) != 1 {
		return fmt.Errorf("%d documents in one manifest", len(m.Layers))
	}
	data, err := store.blob(m.Layers[0], used)
	if err != nil {
		return err
	}
	kind := m.Layers[0].MediaType
	if _, twice := l.documents[kind]; twice {
		return fmt.Errorf("a second document of type %s", kind)
	}
	if m.ArtifactType != string(kind) || desc.ArtifactType != string(kind) {
		return fmt.Errorf("its types differ: %s, %s, %s", desc.ArtifactType, m.ArtifactType, kind)
	}
	l.documents[kind], l.sources[kind] = data, desc
	return nil
}

// contents are the files of a layout by their names.
type contents map[string][]byte

func (c contents) blob(desc v1.Descriptor, used map[string]bool) ([]byte, error) {
	name := blobPath(desc.Digest)
	data, ok := c[name]
	if !ok {
		return nil, fmt.Errorf("%s is not there", name)
	}
	used[name] = true
	if int64(len(data)) != desc.Size {
		return nil, fmt.Errorf("%s has %d bytes, must have %d", name, len(data), desc.Size)
	}
	return data, digestOf(data, desc.Digest)
}

func (c contents) decode(desc v1.Descriptor, into any, used map[string]bool) error {
	data, err := c.blob(desc, used)
	if err != nil {
		return err
	}
	return json.Unmarshal(data, into)
}

func digestOf(data []byte, want v1.Hash) error {
	got, _, err := v1.SHA256(bytes.NewReader(data))
	if err == nil && got != want {
		err = fmt.Errorf("is %s, must be %s", got, want)
	}
	return err
}

// readArchive reads a tar file within the bounds.
func readArchive(r io.Reader) ([]file, error) {
	var files []file
	left := int64(maxArchive)
	for t := tar.NewReader(r); ; {
		head, err := t.Next()
		if err == io.EOF {
			return files, nil
		}
		if err != nil {
			return nil, err
		}
		if len(files) == maxFiles {
			return nil, fmt.Errorf("more than %d files", maxFiles)
		}
		data, err := io.ReadAll(io.LimitReader(t, left+1))
		if err != nil {
			return nil, fmt.Errorf("%s: %w", head.Name, err)
		}
		if left -= int64(len(data)); left < 0 {
			return nil, fmt.Errorf("more than %d bytes", int64(maxArchive))
		}
		files = append(files, file{head, data})
	}
}
