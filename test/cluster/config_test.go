package cluster

import (
	"archive/tar"
	"crypto/sha256"
	"crypto/tls"
	"crypto/x509"
	"encoding/hex"
	"encoding/json"
	"errors"
	"io"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"testing"
)

func itoa(n int) string { return strconv.Itoa(n) }

func TestEveryFaultOfAConfigIsSaid(t *testing.T) {
	err := Config{Dir: "a/b", Nodes: 10, Port: 80, Images: []string{"/no/such.tar"}}.Validate()
	lines := strings.Split(err.Error(), "\n")
	for i, field := range []string{"dir: ", "nodes: ", "port: ", "images: "} {
		if i >= len(lines) || !strings.HasPrefix(lines[i], field) {
			t.Errorf("no fault of %q in:\n%v", field, err)
		}
	}
	for _, dir := range []string{"/", "/run/x", "/var/lib/x", "/tmp/../x", ""} {
		if checkDir(dir) == nil {
			t.Errorf("%q is taken", dir)
		}
	}
	if err := DefaultConfig().Validate(); err != nil {
		t.Error(err)
	}
}

// The versions that programs are told to be, and that go.mod builds, are one.
func TestVersionIsThatOfTheModule(t *testing.T) {
	source, err := findSource()
	if err != nil {
		t.Fatal(err)
	}
	mod := read(filepath.Join(source, "go.mod"))
	if !strings.Contains(mod, "k8s.io/kubernetes "+kubernetesVersion+" ") {
		t.Errorf("go.mod does not require k8s.io/kubernetes %s", kubernetesVersion)
	}
	for _, b := range built {
		if b.of != modulePath+"/pause" && !strings.Contains(mod, "\t"+b.of+"\n") {
			t.Errorf("go.mod has no tool %s", b.of)
		}
	}
}

func TestOutputNames(t *testing.T) {
	for of, want := range map[string]string{"a/cmd/kubelet": "kubelet", "go.etcd.io/etcd/server/v3": "server", "a/v": "v", "a/vet": "vet"} {
		if got := outputName(of); got != want {
			t.Errorf("%s: %s, want %s", of, got, want)
		}
	}
}

func TestCertificatesAreOfTheirAuthority(t *testing.T) {
	dir := t.TempDir()
	ca, err := newAuthority(dir, "ca")
	if err != nil {
		t.Fatal(err)
	}
	cert, key, err := ca.issue("node", identity{name: "system:node:n", groups: []string{"system:nodes"}, hosts: []string{"localhost"}})
	if err != nil {
		t.Fatal(err)
	}
	pair, err := tls.X509KeyPair(cert, key)
	if err != nil {
		t.Fatal(err)
	}
	other, err := newAuthority(dir, "other")
	if err != nil {
		t.Fatal(err)
	}
	for _, a := range []*authority{ca, other} {
		roots := x509.NewCertPool()
		roots.AddCert(a.cert)
		_, err := pair.Leaf.Verify(x509.VerifyOptions{Roots: roots, DNSName: "localhost"})
		if (err == nil) != (a == ca) {
			t.Errorf("by %s: %v", a.name, err)
		}
	}
	if info, err := os.Stat(filepath.Join(dir, "node.key")); err != nil || info.Mode().Perm() != 0o600 {
		t.Errorf("%v, %v", info.Mode(), err)
	}
}

// Every blob is named for its digest, and the index leads to all of them.
func TestImageIsAnOCILayout(t *testing.T) {
	dir := t.TempDir()
	program := filepath.Join(dir, "program")
	if err := os.WriteFile(program, []byte("binary"), 0o600); err != nil {
		t.Fatal(err)
	}
	file := filepath.Join(dir, "image.tar")
	if err := WriteImage(file, Image{Name: "example.test/a:1", Files: map[string]string{"/p": program}, Entrypoint: []string{"/p"}}); err != nil {
		t.Fatal(err)
	}
	f, err := os.Open(file)
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	blobs := map[string][]byte{}
	for r := tar.NewReader(f); ; {
		h, err := r.Next()
		if errors.Is(err, io.EOF) {
			break
		}
		if err != nil {
			t.Fatal(err)
		}
		data, err := io.ReadAll(r)
		if err != nil {
			t.Fatal(err)
		}
		if digest, isBlob := strings.CutPrefix(h.Name, "blobs/sha256/"); isBlob {
			if sum := sha256.Sum256(data); hex.EncodeToString(sum[:]) != digest {
				t.Errorf("%s is not its digest", h.Name)
			}
			blobs["sha256:"+digest] = data
		} else {
			blobs[h.Name] = data
		}
	}
	type reference struct{ Digest string }
	var index struct{ Manifests []reference }
	var manifest struct {
		Config reference
		Layers []reference
	}
	if err := json.Unmarshal(blobs["index.json"], &index); err != nil || len(index.Manifests) != 1 {
		t.Fatal(err)
	}
	if err := json.Unmarshal(blobs[index.Manifests[0].Digest], &manifest); err != nil || len(manifest.Layers) != 1 {
		t.Fatal(err)
	}
	if blobs[manifest.Config.Digest] == nil || blobs[manifest.Layers[0].Digest] == nil || blobs["oci-layout"] == nil {
		t.Errorf("of %v, some are not there", sortedKeys(blobs))
	}
}
