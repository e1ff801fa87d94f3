package consumer

import (
	"archive/zip"
	"fmt"
	"io/fs"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
)

const (
	module  = "github.com/dougong-io/dougong"
	version = "v0.1.0" // what adapters/go.mod requires of kit
)

// TestBuildsFromAModuleProxy publishes kit and adapters into a proxy of files and builds programs that
// know nothing but that proxy and what the modules name themselves.
func TestBuildsFromAModuleProxy(t *testing.T) {
	proxy := t.TempDir()
	for _, name := range []string{"kit", "adapters"} {
		publish(t, proxy, name)
	}
	for _, c := range []struct {
		name, imports, body string
		requires            []string
		alone               bool // nothing else comes along
	}{
		{"kit", `"` + module + `/kit/limit"`,
			`l, err := limit.New(limit.DefaultConfig()); if err != nil { panic(err) }; println(l.Stats().Running)`,
			[]string{"kit"}, true},
		{"adapters", `"` + module + `/adapters/prom"`,
			`println(len(prom.New().Descriptions()))`,
			[]string{"adapters", "kit"}, false},
	} {
		t.Run(c.name, func(t *testing.T) {
			dir := t.TempDir()
			gomod := "module example.com/consumer\n\ngo 1.26.0\n\n"
			for _, r := range c.requires {
				gomod += fmt.Sprintf("require %s/%s %s\n", module, r, version)
			}
			write(t, dir, "go.mod", gomod)
			write(t, dir, "main.go", "package main\n\nimport "+c.imports+"\n\nfunc main() { "+c.body+" }\n")
			run := func(args ...string) string { return goCommand(t, proxy, dir, args...) }
			run("build", "-mod=mod", "-o", filepath.Join(dir, "consumer"), ".")
			if modules := strings.Fields(run("list", "-m", "-f", "{{.Path}}", "all")); c.alone && len(modules) != 2 {
				t.Errorf("more than the kit comes along: %v", modules)
			}
		})
	}
}

// publish writes a module as a proxy serves it.
func publish(t *testing.T, proxy, name string) {
	t.Helper()
	path := module + "/" + name
	dir := filepath.Join(proxy, filepath.FromSlash(path), "@v")
	if err := os.MkdirAll(dir, 0o755); err != nil {
		t.Fatal(err)
	}
	source := filepath.Join("..", "..", name)
	gomod, err := os.ReadFile(filepath.Join(source, "go.mod"))
	if err != nil {
		t.Fatal(err)
	}
	write(t, dir, "list", version+"\n")
	write(t, dir, version+".info", fmt.Sprintf(`{"Version":%q,"Time":"2026-01-01T00:00:00Z"}`, version))
	write(t, dir, version+".mod", string(gomod))
	out, err := os.Create(filepath.Join(dir, version+".zip"))
	if err != nil {
		t.Fatal(err)
	}
	defer out.Close()
	archive := zip.NewWriter(out)
	tree := os.DirFS(source)
	err = fs.WalkDir(tree, ".", func(file string, entry fs.DirEntry, err error) error {
		if err != nil || entry.IsDir() {
			return err
		}
		data, err := fs.ReadFile(tree, file)
		if err != nil {
			return err
		}
		w, err := archive.Create(path + "@" + version + "/" + file)
		if err != nil {
			return err
		}
		_, err = w.Write(data)
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
	if err := archive.Close(); err != nil {
		t.Fatal(err)
	}
}

// goCommand runs go with a module cache of its own, so that no published version lingers in the real
// one, which serves as the proxy for everybody else's modules.
func goCommand(t *testing.T, proxy, dir string, args ...string) string {
	t.Helper()
	cache, err := exec.Command("go", "env", "GOMODCACHE", "GOPROXY").Output()
	if err != nil {
		t.Fatal(err)
	}
	lines := strings.Split(string(cache), "\n")
	cmd := exec.Command("go", args...)
	cmd.Dir = dir
	cmd.Env = append(os.Environ(),
		"GOMODCACHE="+filepath.Join(proxy, "modcache"), "GOFLAGS=-modcacherw", "GOWORK=off",
		"GONOSUMDB="+module+"/*", "GOSUMDB=off",
		"GOPROXY=file://"+proxy+",file://"+filepath.Join(lines[0], "cache", "download")+","+lines[1],
	)
	out, err := cmd.CombinedOutput()
	if err != nil {
		t.Fatalf("go %s: %v\n%s", strings.Join(args, " "), err, out)
	}
	return string(out)
}

func write(t *testing.T, dir, name, content string) {
	t.Helper()
	if err := os.WriteFile(filepath.Join(dir, name), []byte(content), 0o644); err != nil {
		t.Fatal(err)
	}
}
