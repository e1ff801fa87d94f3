package main

import (
	"archive/tar"
	"bytes"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/json"
	"encoding/pem"
	"math/big"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	v1 "github.com/google/go-containerregistry/pkg/v1"
	"github.com/google/go-containerregistry/pkg/v1/layout"
	"github.com/google/go-containerregistry/pkg/v1/validate"
)

// TestImageIsWhatDeploymentsCountOn says in plain values what manifests are written for.
func TestImageIsWhatDeploymentsCountOn(t *testing.T) {
	l := loadedFrom(t, written(t, small(t)))
	cfg := l.config.Config
	if cfg.User != "65532:65532" || !slices.Equal(cfg.Entrypoint, []string{"/dougong"}) || !slices.Equal(cfg.Cmd, []string{"run", "inference"}) || cfg.StopSignal != "SIGTERM" {
		t.Errorf("%+v", cfg)
	}
	for _, port := range []string{"8080/tcp", "8081/tcp", "9090/tcp"} {
		if _, ok := cfg.ExposedPorts[port]; !ok {
			t.Errorf("port %s is not told", port)
		}
	}
	if !slices.Equal(cfg.Env, []string{"DOUGONG_HARDENING_ENABLED=true"}) {
		t.Errorf("environment %q", cfg.Env)
	}
	if len(l.files) != 1 || l.files[0].head.Name != "dougong" || l.files[0].head.Mode != 0o555 {
		t.Errorf("%d files, the first %+v", len(l.files), l.files[0].head)
	}
	if l.desc.Annotations["io.containerd.image.name"] != "ghcr.io/dougong-io/dougong:dev" || l.desc.Annotations["org.opencontainers.image.ref.name"] != "dev" {
		t.Errorf("annotations %v", l.desc.Annotations)
	}
	for label, want := range map[string]string{"version": "dev", "licenses": "Apache-2.0", "source": "https://github.com/dougong-io/dougong", "created": "2026-01-02T03:04:05Z", "revision": small(t).binary.revision} {
		if got := cfg.Labels["org.opencontainers.image."+label]; got != want {
			t.Errorf("label %s is %q, want %q", label, got, want)
		}
	}
}

// TestLayoutIsValidToALibrary has go-containerregistry read the files and compute every digest and size anew.
func TestLayoutIsValidToALibrary(t *testing.T) {
	dir := t.TempDir()
	data, err := os.ReadFile(written(t, small(t)))
	if err != nil {
		t.Fatal(err)
	}
	entries, err := readArchive(bytes.NewReader(data))
	if err != nil {
		t.Fatal(err)
	}
	for _, f := range entries {
		to := filepath.Join(dir, f.head.Name)
		if f.head.Typeflag == tar.TypeDir {
			err = os.MkdirAll(to, 0o755)
		} else {
			err = os.WriteFile(to, f.data, 0o644)
		}
		if err != nil {
			t.Fatal(err)
		}
	}
	index, err := layout.ImageIndexFromPath(dir)
	if err != nil {
		t.Fatal(err)
	}
	manifests, err := index.IndexManifest()
	if err != nil {
		t.Fatal(err)
	}
	img, err := index.Image(manifests.Manifests[0].Digest)
	if err != nil {
		t.Fatal(err)
	}
	if err := validate.Image(img); err != nil {
		t.Error(err)
	}
	var docker []dockerManifest
	if data, err = os.ReadFile(filepath.Join(dir, "manifest.json")); err != nil {
		t.Fatal(err)
	}
	if err := json.Unmarshal(data, &docker); err != nil || len(docker) != 1 || !slices.Equal(docker[0].RepoTags, []string{"ghcr.io/dougong-io/dougong:dev"}) {
		t.Fatalf("%v, %+v", err, docker)
	}
	for _, file := range append(docker[0].Layers, docker[0].Config) {
		if _, err := os.Stat(filepath.Join(dir, file)); err != nil {
			t.Error(err)
		}
	}
}

// TestDocumentsAreAttached: who has the image finds both by asking what refers to its digest.
func TestDocumentsAreAttached(t *testing.T) {
	file := written(t, small(t))
	l := loadedFrom(t, file)
	for kind, suffix := range map[string]string{"application/spdx+json": ".spdx.json", "application/vnd.in-toto+json": ".provenance.json"} {
		beside, err := os.ReadFile(strings.TrimSuffix(file, ".tar") + suffix)
		if err != nil {
			t.Fatal(err)
		}
		for attached, data := range l.documents {
			if string(attached) == kind && !bytes.Equal(data, beside) {
				t.Errorf("%s is not what is attached", suffix)
			}
		}
		if !slices.ContainsFunc(mapKeys(l), func(k string) bool { return k == kind }) {
			t.Errorf("no %s is attached", kind)
		}
	}
	if err := os.WriteFile(strings.TrimSuffix(file, ".tar")+".spdx.json", []byte("{}"), 0o644); err != nil {
		t.Fatal(err)
	}
	if code, _, stderr := commandLine(t, nil, "-check", "-o", file); code != exitFailure || !strings.Contains(stderr, "is not what is attached") {
		t.Errorf("a changed document: exit code %d, %s", code, stderr)
	}
}

func mapKeys(l *loaded) []string {
	var keys []string
	for kind := range l.documents {
		keys = append(keys, string(kind))
	}
	return keys
}

func TestCertificatesGoInWhenAsked(t *testing.T) {
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	template := &x509.Certificate{SerialNumber: big.NewInt(1), Subject: pkix.Name{CommonName: "authority"}, NotAfter: time.Now().Add(time.Hour), IsCA: true}
	der, err := x509.CreateCertificate(rand.Reader, template, template, key.Public(), key)
	if err != nil {
		t.Fatal(err)
	}
	certificate := pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: der})
	file := filepath.Join(t.TempDir(), "ca.pem")
	for _, c := range []struct {
		content []byte
		want    string
	}{
		{certificate, ""},
		{append(pem.EncodeToMemory(&pem.Block{Type: "PRIVATE KEY", Bytes: der}), certificate...), "block 1 is a PRIVATE KEY"},
		{[]byte("nothing"), "holds no certificate"},
		{pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: der[:20]}), "certificate 1: "},
	} {
		if err := os.WriteFile(file, c.content, 0o644); err != nil {
			t.Fatal(err)
		}
		data, err := readCertificates(file)
		if c.want != "" {
			if err == nil || !strings.Contains(err.Error(), c.want) {
				t.Errorf("%v, want %q", err, c.want)
			}
			continue
		}
		p := small(t)
		p.certificates = data
		l := loadedFrom(t, written(t, p))
		if _, err := l.judge(); err != nil {
			t.Error(err)
		}
		last := l.files[len(l.files)-1]
		if last.head.Name != "etc/ssl/certs/ca-certificates.crt" || !bytes.Equal(last.data, certificate) {
			t.Errorf("%+v", last.head)
		}
	}
}

func TestJudgeNamesWhatIsWrong(t *testing.T) {
	entry := func(name string, mode int64, uid int) file {
		return file{&tar.Header{Name: name, Typeflag: tar.TypeReg, Mode: mode, Uid: uid, ModTime: small(t).created}, nil}
	}
	image := written(t, small(t))
	if _, err := loadedFrom(t, image).judge(); err != nil {
		t.Fatal(err)
	}
	for want, change := range map[string]func(l *loaded){
		`user "0", must be 65532:65532`:                   func(l *loaded) { l.config.Config.User = "0" },
		`starts ["/bin/sh"]`:                              func(l *loaded) { l.config.Config.Entrypoint = []string{"/bin/sh"} },
		`must hold DOUGONG_HARDENING_ENABLED=true`:        func(l *loaded) { l.config.Config.Env = nil },
		`takes 60.0 MB, at most 60.0 MB`:                  func(l *loaded) { l.unpacked = maxImage + 1 },
		`/bin/sh has no place in the image`:               func(l *loaded) { l.files = append(l.files, entry("bin/sh", 0o555, 0)) },
		`/tmp has no place in the image`:                  func(l *loaded) { l.files = append(l.files, entry("tmp", 0o555, 0)) },
		`/x belongs to 1:0, must belong to root`:          func(l *loaded) { l.files = append(l.files, entry("x", 0o555, 1)) },
		`/x has the mode 4555`:                            func(l *loaded) { l.files = append(l.files, entry("x", 0o4555, 0)) },
		`/x has the mode 775`:                             func(l *loaded) { l.files = append(l.files, entry("x", 0o775, 0)) },
		`must be of 2020-`:                                func(l *loaded) { l.config.Created.Time = time.Date(2020, 1, 1, 0, 0, 0, 0, time.UTC) },
		`/dougong has no place`:                           func(l *loaded) { l.files = append(l.files, entry("dougong", 0o555, 0)) },
		`/dougong: no program of Go`:                      func(l *loaded) { l.files = nil },
		`is for linux/arm64, and the binary for linux/am`: func(l *loaded) { l.config.Architecture = "arm64" },
		`SPDX: EOF`:                    func(l *loaded) { delete(l.documents, mediaSPDX) },
		`provenance: EOF`:              func(l *loaded) { delete(l.documents, mediaInToto) },
		`SPDX: is about another image`: func(l *loaded) { l.desc.Digest.Hex = strings.Repeat("0", 64) },
		`provenance: subject ghcr.io/x:1 is sha256:,`: func(l *loaded) { l.desc.Annotations = map[string]string{annotationName: "ghcr.io/x:1"} },
	} {
		l := loadedFrom(t, image)
		change(l)
		if _, err := l.judge(); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%v, want %q", err, want)
		}
	}
}

// tiny is a layout with next to nothing in it, for what does not ask what a binary is.
func tiny(t testing.TB) []byte {
	t.Helper()
	p := product{name: "ghcr.io/x", version: "1", created: time.Unix(0, 0), binary: binary{data: []byte("x"), settings: map[string]string{"GOOS": "linux", "GOARCH": "amd64"}}}
	img, err := p.image()
	if err != nil {
		t.Fatal(err)
	}
	data, err := p.layout(img, []artifact{{kind: mediaSPDX, title: "x", data: []byte("{}")}})
	if err != nil {
		t.Fatal(err)
	}
	return data
}

// rewritten is a layout with its files changed.
func rewritten(t testing.TB, data []byte, change func(store map[string][]byte)) []byte {
	t.Helper()
	entries, err := readArchive(bytes.NewReader(data))
	if err != nil {
		t.Fatal(err)
	}
	store := map[string][]byte{}
	for _, f := range entries {
		store[f.head.Name] = f.data
	}
	change(store)
	a := newArchiver(time.Unix(0, 0))
	for name, data := range store {
		if err := a.add(name, 0o444, data); err != nil {
			t.Fatal(err)
		}
	}
	out, err := a.bytes()
	if err != nil {
		t.Fatal(err)
	}
	return out
}

func TestLoadRefusesWhatDigestsDoNotVouchFor(t *testing.T) {
	data := tiny(t)
	l, err := load(data)
	if err != nil {
		t.Fatal(err)
	}
	manifest := blobPath(l.desc.Digest)
	index := func(change func(*v1.IndexManifest)) func(store map[string][]byte) {
		return func(store map[string][]byte) {
			var m v1.IndexManifest
			if err := json.Unmarshal(store["index.json"], &m); err != nil {
				t.Fatal(err)
			}
			change(&m)
			if store["index.json"], err = json.Marshal(m); err != nil {
				t.Fatal(err)
			}
		}
	}
	for want, change := range map[string]func(store map[string][]byte){
		"must be " + l.desc.Digest.String(): func(store map[string][]byte) {
			store[manifest] = bytes.Replace(store[manifest], []byte("2"), []byte("3"), 1)
		},
		"is not there":               func(store map[string][]byte) { delete(store, manifest) },
		"nothing leads to it":        func(store map[string][]byte) { store["blobs/sha256/more"] = nil },
		"oci-layout":                 func(store map[string][]byte) { delete(store, "oci-layout") },
		"index.json: unexpected end": func(store map[string][]byte) { delete(store, "index.json") },
		"a second image":             index(func(m *v1.IndexManifest) { m.Manifests = append(m.Manifests, m.Manifests[0]) }),
		"a second document":          index(func(m *v1.IndexManifest) { m.Manifests = append(m.Manifests, m.Manifests[1]) }),
		"no image with a name":       index(func(m *v1.IndexManifest) { m.Manifests[0].Annotations = nil }),
		"must have 1":                index(func(m *v1.IndexManifest) { m.Manifests[0].Size = 1 }),
		"is about":                   index(func(m *v1.IndexManifest) { slices.Reverse(m.Manifests) }),
		"its types differ":           index(func(m *v1.IndexManifest) { m.Manifests[1].ArtifactType = "x" }),
	} {
		if _, err := load(rewritten(t, data, change)); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%v, want %q", err, want)
		}
	}
	if _, err := load(append(slices.Clone(data[:len(data)-1024]), data...)); err == nil || !strings.Contains(err.Error(), "twice") {
		t.Errorf("each file twice: %v", err)
	}
}

func FuzzLoad(f *testing.F) {
	f.Add(tiny(f))
	f.Add([]byte{})
	f.Fuzz(func(t *testing.T, data []byte) {
		if l, err := load(data); err == nil {
			if _, err := l.judge(); err == nil {
				t.Error("an image without a program passes")
			}
		}
	})
}
