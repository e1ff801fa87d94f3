package main

import (
	"bytes"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"io"
	"maps"
	"slices"

	v1 "github.com/google/go-containerregistry/pkg/v1"
	"github.com/google/go-containerregistry/pkg/v1/types"
)

const (
	mediaSPDX   = "application/spdx+json"
	mediaInToto = "application/vnd.in-toto+json"

	// annotationName is the whole name of an image, which containerd goes by; annotationRef is its tag alone.
	annotationName  = "io.containerd.image.name"
	annotationRef   = "org.opencontainers.image.ref.name"
	annotationTitle = "org.opencontainers.image.title"
)

// layoutVersion is the content of oci-layout.
const layoutVersion = `{"imageLayoutVersion":"1.0.0"}`

// artifact is a document that is attached to an image: a manifest of its own whose subject is the image, which is
// how registries that know referrers (OCI 1.1) find it.
type artifact struct {
	kind  types.MediaType
	title string
	data  []byte
}

// dockerManifest is what engines read that know no OCI layout.
type dockerManifest struct {
	Config   string
	RepoTags []string
	Layers   []string
}

// blobs are contents by their digest.
type blobs map[v1.Hash][]byte

func (b blobs) add(kind types.MediaType, data []byte) v1.Descriptor {
	sum := sha256.Sum256(data)
	digest := v1.Hash{Algorithm: "sha256", Hex: hex.EncodeToString(sum[:])}
	b[digest] = data
	return v1.Descriptor{MediaType: kind, Digest: digest, Size: int64(len(data))}
}

func blobPath(h v1.Hash) string { return "blobs/" + h.Algorithm + "/" + h.Hex }

// layout is the tar file: an OCI layout, and a manifest.json for engines that know none.
func (p product) layout(img v1.Image, attached []artifact) ([]byte, error) {
	all := blobs{}
	image, docker, err := p.addImage(all, img)
	if err != nil {
		return nil, err
	}
	index := v1.IndexManifest{SchemaVersion: 2, MediaType: types.OCIImageIndex, Manifests: []v1.Descriptor{image}}
	for _, a := range attached {
		referrer, err := all.addArtifact(a, image)
		if err != nil {
			return nil, err
		}
		index.Manifests = append(index.Manifests, referrer)
	}
	a := newArchiver(p.created)
	for _, doc := range []struct {
		name    string
		content any
	}{{"index.json", index}, {"manifest.json", []dockerManifest{docker}}} {
		data, err := json.Marshal(doc.content)
		if err != nil {
			return nil, err
		}
		if err := a.add(doc.name, 0o444, data); err != nil {
			return nil, err
		}
	}
	if err := a.add("oci-layout", 0o444, []byte(layoutVersion)); err != nil {
		return nil, err
	}
	for _, dir := range []string{"blobs/", "blobs/sha256/"} {
		if err := a.add(dir, 0o755, nil); err != nil {
			return nil, err
		}
	}
	for _, digest := range slices.SortedFunc(maps.Keys(all), func(x, y v1.Hash) int { return bytes.Compare([]byte(x.Hex), []byte(y.Hex)) }) {
		if err := a.add(blobPath(digest), 0o444, all[digest]); err != nil {
			return nil, err
		}
	}
	return a.bytes()
}

func (p product) addImage(all blobs, img v1.Image) (v1.Descriptor, dockerManifest, error) {
	fail := func(err error) (v1.Descriptor, dockerManifest, error) { return v1.Descriptor{}, dockerManifest{}, err }
	manifest, err := img.RawManifest()
	if err != nil {
		return fail(err)
	}
	config, err := img.RawConfigFile()
	if err != nil {
		return fail(err)
	}
	layers, err := img.Layers()
	if err != nil {
		return fail(err)
	}
	docker := dockerManifest{Config: blobPath(all.add(types.OCIConfigJSON, config).Digest), RepoTags: []string{p.ref()}}
	for _, layer := range layers {
		r, err := layer.Compressed()
		if err != nil {
			return fail(err)
		}
		data, err := io.ReadAll(r)
		if err != nil {
			return fail(err)
		}
		docker.Layers = append(docker.Layers, blobPath(all.add(types.OCILayer, data).Digest))
	}
	desc := all.add(types.OCIManifestSchema1, manifest)
	desc.Platform = &v1.Platform{OS: p.binary.settings["GOOS"], Architecture: p.binary.settings["GOARCH"]}
	desc.Annotations = map[string]string{annotationName: p.ref(), annotationRef: p.version}
	return desc, docker, nil
}

// addArtifact has no name for the manifest in the index: engines make an image of each that has one.
func (b blobs) addArtifact(a artifact, subject v1.Descriptor) (v1.Descriptor, error) {
	content := b.add(a.kind, a.data)
	content.Annotations = map[string]string{annotationTitle: a.title}
	manifest, err := json.Marshal(v1.Manifest{
		SchemaVersion: 2,
		MediaType:     types.OCIManifestSchema1,
		ArtifactType:  string(a.kind),
		Config:        b.add(types.OCIEmptyJSON, []byte("{}")),
		Layers:        []v1.Descriptor{content},
		Subject:       &v1.Descriptor{MediaType: subject.MediaType, Digest: subject.Digest, Size: subject.Size},
	})
	if err != nil {
		return v1.Descriptor{}, err
	}
	desc := b.add(types.OCIManifestSchema1, manifest)
	desc.ArtifactType = string(a.kind)
	return desc, nil
}
