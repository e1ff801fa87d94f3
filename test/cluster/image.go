package cluster

import (
	"archive/tar"
	"bytes"
	"context"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"fmt"
	"os"
	"path"
	"path/filepath"
	"runtime"
	"slices"
	"strings"
)

const pauseImage = "dougong.test/pause:1"

// Image is what WriteImage packs.
type Image struct {
	Name       string            // such as dougong.test/echo:1: what a pod asks for
	Files      map[string]string // path in the image → file here, which is packed as executable
	Entrypoint []string
	User       string // such as 65532:65532; empty is root
}

// WriteImage packs static binaries into the tar of an OCI layout that Config.Images and Load take: enough for tests, and
// no more than one layer.
func WriteImage(file string, image Image) error {
	layer, err := packLayer(image.Files)
	if err != nil {
		return err
	}
	var blobs []blob
	add := func(mediaType string, data []byte) map[string]any {
		sum := sha256.Sum256(data)
		digest := hex.EncodeToString(sum[:])
		blobs = append(blobs, blob{"blobs/sha256/" + digest, data})
		return map[string]any{"mediaType": mediaType, "digest": "sha256:" + digest, "size": len(data)}
	}
	document := func(mediaType string, value any) map[string]any {
		data, _ := json.Marshal(value) // of strings, numbers, maps and lists
		return add(mediaType, data)
	}
	layerAt := add("application/vnd.oci.image.layer.v1.tar", layer)
	config := document("application/vnd.oci.image.config.v1+json", map[string]any{
		"architecture": runtime.GOARCH,
		"os":           "linux",
		"config":       map[string]any{"Entrypoint": image.Entrypoint, "User": image.User},
		"rootfs":       map[string]any{"type": "layers", "diff_ids": []any{layerAt["digest"]}},
	})
	manifest := document("application/vnd.oci.image.manifest.v1+json", map[string]any{
		"schemaVersion": 2,
		"mediaType":     "application/vnd.oci.image.manifest.v1+json",
		"config":        config,
		"layers":        []any{layerAt},
	})
	_, tag, _ := strings.Cut(path.Base(image.Name), ":")
	manifest["annotations"] = map[string]any{"io.containerd.image.name": image.Name, "org.opencontainers.image.ref.name": tag}
	index, _ := json.Marshal(map[string]any{"schemaVersion": 2, "manifests": []any{manifest}})
	blobs = append(blobs, blob{"index.json", index}, blob{"oci-layout", []byte(`{"imageLayoutVersion":"1.0.0"}`)})
	data, err := packTar(blobs, 0o644)
	if err != nil {
		return err
	}
	return write(file, data)
}

type blob struct {
	name string
	data []byte
}

func packLayer(files map[string]string) ([]byte, error) {
	var blobs []blob
	for name, file := range files {
		data, err := os.ReadFile(file)
		if err != nil {
			return nil, fmt.Errorf("read a file of the image: %w", err)
		}
		blobs = append(blobs, blob{strings.TrimPrefix(name, "/"), data})
	}
	slices.SortFunc(blobs, func(a, b blob) int { return strings.Compare(a.name, b.name) })
	return packTar(blobs, 0o755)
}

func packTar(blobs []blob, mode int64) ([]byte, error) {
	var b bytes.Buffer
	w := tar.NewWriter(&b)
	for _, f := range blobs {
		if err := w.WriteHeader(&tar.Header{Name: f.name, Mode: mode, Size: int64(len(f.data)), Typeflag: tar.TypeReg}); err != nil {
			return nil, fmt.Errorf("pack %s: %w", f.name, err)
		}
		if _, err := w.Write(f.data); err != nil {
			return nil, fmt.Errorf("pack %s: %w", f.name, err)
		}
	}
	if err := w.Close(); err != nil {
		return nil, fmt.Errorf("pack an image: %w", err)
	}
	return b.Bytes(), nil
}

// Load gives the image in the tar file to each node.
func (c *Cluster) Load(ctx context.Context, file string) error {
	file, err := filepath.Abs(file)
	if err != nil {
		return fmt.Errorf("load an image: %w", err)
	}
	for _, node := range nodeNames(c.config.Nodes) {
		if out, err := c.containerd(ctx, "ctr", importArguments(node, file)...).CombinedOutput(); err != nil {
			return fmt.Errorf("load %s on %s: %w: %s", file, node, err, bytes.TrimSpace(out))
		}
	}
	return nil
}

func importArguments(node, file string) []string {
	return []string{"--address", containerdSocket(node), "--namespace", "k8s.io", "images", "import", file}
}
