package dougong

import (
	"fmt"
	"go/ast"
	"go/parser"
	"go/token"
	"io/fs"
	"maps"
	"os"
	"path"
	"slices"
	"strconv"
	"strings"
	"testing"
	"testing/fstest"
)

const module = "github.com/dougong-io/dougong"

// room is a folder of the house and what its packages may import: of the house itself, everything below the
// folders in may, and nothing else; of others what thirdParties lists. A package belongs to the longest dir
// that holds it.
type room struct {
	dir string
	may []string
	why string
}

// Rooms of one kind are one line: dir ending in /* makes a room of each folder below it.
var rooms = []room{
	{"cmd/dougong", []string{"internal/cli"}, "main is one call"},
	{"cmd/dougong-operator", []string{"control/operator", "control/webhook", "kit"}, "the operator is a binary of its own"},
	{"cmd/dougong-vet", []string{"gate/ctxcheck", "gate/cgoleak"}, "a cmd of its own purpose reaches just its package"},
	{"cmd/dougong-onnx-worker", []string{"adapters/cguard", "services/inference/wire", "services/inference/worker"}, "a cmd of its own purpose reaches just its package"},
	{"internal/cli", []string{"internal/app", "kit"}, "commands only call the composition root"},
	{"internal/app", []string{"internal/config", "internal/httpserver", "internal/grpcserver", "internal/auth", "internal/hardening", "services", "prove", "gate", "console", "control/traffic", "adapters", "kit", "api", "examples"}, "the composition root hands everything in"},
	{"internal/config", []string{"kit"}, "knows no service"},
	{"internal/httpserver", []string{"internal/auth", "internal/reload", "internal/linelog", "kit"}, "knows no service"},
	{"internal/grpcserver", []string{"internal/httpserver", "internal/auth", "internal/reload", "internal/linelog", "kit"}, "knows no service; trace and TLS are as over HTTP"},
	{"internal/auth", []string{"kit"}, "knows no service"},
	{"internal/hardening", []string{"kit"}, "looks at the process itself"},
	{"internal/reload", nil, "files of a server, whichever"},
	{"internal/linelog", nil, "lines of a server, whichever"},
	{"services/*", []string{"kit", "api"}, "services import nothing of each other, of adapters and of control"},
	{"prove/hdr", nil, "counts, and knows nothing"},
	{"prove/load", []string{"prove/hdr", "kit", "api"}, "usable alone"},
	{"prove/fault", []string{"prove/load", "prove/hdr", "kit", "api"}, "tries faults under load; usable alone"},
	{"prove/report", []string{"prove/load", "prove/fault", "prove/hdr", "kit", "api"}, "reads results; nothing reads it but the top of the house"},
	{"prove/live", []string{"prove/load", "prove/hdr", "kit", "api"}, "shows a run; nothing reads it but the top of the house"},
	{"prove", []string{"kit", "api"}, "usable alone"},
	{"gate/*", []string{"kit"}, "usable alone"},
	{"console", []string{"kit", "api"}, "usable alone"},
	{"control/*", []string{"kit", "api"}, "usable alone"},
	{"adapters/*", []string{"kit", "adapters/internal"}, "adapters tie the kit to engines, and know neither each other nor what is above"},
	{"kit", nil, "standard library only"},
	{"client/*", []string{"kit", "api", "adapters"}, "what a caller compiles; knows no server"},
	{"api", nil, "no logic"},
	{"examples", []string{"kit", "adapters", "prove"}, "what a user could write"},
	{"test", []string{"internal/app", "internal/cli", "internal/config", "services", "adapters", "kit", "prove", "api", "examples"}, "end to end"},
	{"test/cluster", nil, "a Kubernetes for tests; knows nothing of what runs in it"},
	{"deploy", nil, "what is shipped, and what judges it from outside"},
	{"scripts", nil, "tools of the house"},
	{"bench", []string{"services", "adapters", "kit", "prove", "api", "examples"}, "side by side with peers"},
}

// thirdParties are the modules and packages of others that a room may import, each with everything below it. A
// room that is not listed imports the standard library and the house alone. Tests may import what they like.
var thirdParties = map[string][]string{
	"internal/cli":            {"github.com/spf13/cobra"},
	"internal/config":         {"go.yaml.in/yaml/v3"},
	"internal/app":            {"github.com/prometheus/client_golang", "google.golang.org/grpc"},
	"internal/grpcserver":     {"google.golang.org/grpc", "google.golang.org/genproto/googleapis/rpc", "google.golang.org/protobuf", "buf.build/go/protovalidate"},
	"api":                     {"google.golang.org/grpc", "google.golang.org/protobuf", "buf.build/gen/go/bufbuild/protovalidate/protocolbuffers/go"},
	"scripts":                 {"google.golang.org/protobuf", "github.com/bufbuild/protocompile", "buf.build/gen/go/bufbuild/protovalidate/protocolbuffers/go"},
	"services/inference":      {"golang.org/x/sys/cpu", "golang.org/x/sys/unix", "google.golang.org/grpc", "google.golang.org/genproto/googleapis/rpc", "google.golang.org/protobuf"},
	"prove/load":              {"google.golang.org/grpc", "google.golang.org/protobuf", "github.com/gobwas/ws", "golang.org/x/sys/unix"},
	"prove/live":              {"golang.org/x/term"},
	"client/inference":        {"google.golang.org/grpc", "google.golang.org/protobuf", "google.golang.org/genproto/googleapis/rpc"},
	"adapters/prom":           {"github.com/prometheus/client_golang"},
	"adapters/otel":           {"go.opentelemetry.io/otel"},
	"adapters/grpc":           {"google.golang.org/grpc", "google.golang.org/genproto/googleapis/rpc", "google.golang.org/protobuf"},
	"adapters/etcd":           {"go.etcd.io/etcd/client/v3", "go.etcd.io/etcd/api/v3", "google.golang.org/grpc", "go.uber.org/zap"},
	"control/operator":        {"k8s.io", "sigs.k8s.io"},
	"control/webhook":         {"k8s.io", "sigs.k8s.io"},
	"cmd/dougong-operator":    {"k8s.io", "sigs.k8s.io"},
	"cmd/dougong-onnx-worker": {"github.com/yalue/onnxruntime_go"},
	"cmd/dougong-vet":         {"golang.org/x/tools"},
}

// freeRooms may import what they like of others.
var freeRooms = []string{"bench", "test", "deploy"}

// planned are folders of the design that later work builds. They may be named in rules; one that exists
// by now must be struck from this list.
var planned = []string{
	"cmd/dougong-operator", "cmd/dougong-vet", "gate", "console", "control", "control/operator",
	"control/webhook", "control/traffic", "gate/ctxcheck", "gate/cgoleak",
}

// plannedModules are those that rules name and that later work brings.
var plannedModules = []string{"k8s.io", "sigs.k8s.io", "golang.org/x/tools"}

// ban keeps an import to the folders that are its place.
type ban struct {
	imports string // and everything below it
	only    []string
	why     string
}

var bans = []ban{
	{"k8s.io", []string{"control/operator", "control/webhook", "cmd/dougong-operator", "test/cluster", "deploy/manifests"}, "users of dougong up do not compile Kubernetes"},
	{"sigs.k8s.io", []string{"control/operator", "control/webhook", "cmd/dougong-operator", "test/cluster", "deploy/manifests"}, "users of dougong up do not compile Kubernetes"},
	{"go.yaml.in/yaml", []string{"internal/config"}, "YAML is decoded in one place, strictly"},
	{"github.com/spf13/cobra", []string{"internal/cli"}, "commands live in one place"},
	{"github.com/prometheus", []string{"adapters/prom", "internal/app"}, "the kit and the services report through observers"},
	{"go.etcd.io/etcd/server", []string{"internal/app", "test/testenv"}, "embedded servers are started by the composition root"},
	{"C", []string{"bench", "cmd/dougong-onnx-worker", "adapters/cguard"}, "cmd/dougong builds without cgo"},
	{"plugin", nil, "Go plugins can never be unloaded"},
	{module + "/internal/app", []string{"internal/cli", "test"}, "the composition root is the top of the house"},
	{module + "/examples", []string{"internal/app", "bench", "test"}, "only the composition root embeds the demo"},
}

// testsMay is what a test of the root module may import beyond its room: real decoding, real models, real messages.
var testsMay = []string{"internal/config", "examples", "kit", "api"}

// generated reports whether the code is a generator's, which registers descriptors when it is imported.
func generated(file string) bool { return within(file, "api") && strings.HasSuffix(file, ".pb.go") }

// testsOf is what the tests of one room may import beyond that: the servers that it speaks with.
var testsOf = map[string][]string{"client/inference": {"services/inference"}, "cmd/dougong-onnx-worker": {"services/inference/workercheck"}}

const maxMainLines = 30

type violation struct{ rule, file, msg string }

// check holds the tree against every rule. It parses files itself: a test that asks the go command can
// get a cached answer.
func check(tree fs.FS) []violation {
	var found []violation
	report := func(rule, file, format string, args ...any) {
		found = append(found, violation{rule, file, fmt.Sprintf(format, args...)})
	}
	documented := map[string]bool{}
	err := fs.WalkDir(tree, ".", func(file string, entry fs.DirEntry, err error) error {
		if err != nil {
			return err
		}
		name := entry.Name()
		if entry.IsDir() {
			if file != "." && (strings.HasPrefix(name, ".") || name == "testdata" || name == "node_modules" || file == "bin" || file == "dist" || file == "bench/peers") {
				return fs.SkipDir
			}
			return nil
		}
		switch {
		case name == "go.work":
			report("no-go.work", file, "a workspace hides what a module needs; use replace")
		case file == "kit/go.mod", file == "adapters/go.mod":
			data, err := fs.ReadFile(tree, file)
			if err != nil {
				return err
			}
			if file == "kit/go.mod" && strings.Contains(string(data), "require") {
				report("kit-alone", file, "kit has no requirements: standard library only")
			}
			if strings.Contains(string(data), module+" v") {
				report("modules-go-one-way", file, "requires the root module")
			}
		case strings.HasSuffix(name, ".go"):
			data, err := fs.ReadFile(tree, file)
			if err != nil {
				return err
			}
			checkFile(file, data, documented, report)
		}
		return nil
	})
	if err != nil {
		report("readable", ".", "%v", err)
	}
	for _, dir := range slices.Sorted(maps.Keys(documented)) {
		if !documented[dir] {
			report("package-comment", dir, "no file has a package comment")
		}
	}
	return found
}

func checkFile(file string, data []byte, documented map[string]bool, report func(rule, file, format string, args ...any)) {
	f, err := parser.ParseFile(token.NewFileSet(), file, data, parser.ParseComments|parser.SkipObjectResolution)
	if err != nil {
		report("readable", file, "%v", err)
		return
	}
	dir := path.Dir(file)
	isTest := strings.HasSuffix(file, "_test.go")
	if !isTest {
		documented[dir] = documented[dir] || f.Doc != nil
	}
	here, ok := roomOf(dir)
	if !ok {
		report("no-room", file, "folder %s is no room of the house; add it to the design and to this test", dir)
		return
	}
	for _, spec := range f.Imports {
		imported, _ := strconv.Unquote(spec.Path.Value)
		checkImport(file, dir, here, imported, isTest, report)
	}
	if isTest {
		return
	}
	for _, decl := range f.Decls {
		if fn, ok := decl.(*ast.FuncDecl); ok && fn.Recv == nil && fn.Name.Name == "init" && !generated(file) {
			report("no-init", file, "nothing is filled by init(): lists are explicit")
		}
	}
	ast.Inspect(f, func(n ast.Node) bool {
		if sel, ok := n.(*ast.SelectorExpr); ok && sel.Sel.Name == "SetFinalizer" {
			if x, ok := sel.X.(*ast.Ident); ok && x.Name == "runtime" {
				report("no-finalizer", file, "a finaliser may never run; close, or use runtime.AddCleanup as a net")
			}
		}
		return true
	})
	if file == "cmd/dougong/main.go" && strings.Count(string(data), "\n") >= maxMainLines {
		report("small-main", file, "main has %d lines or more", maxMainLines)
	}
}

func checkImport(file, dir string, here room, imported string, isTest bool, report func(rule, file, format string, args ...any)) {
	for _, b := range bans {
		if within(imported, b.imports) && !withinAny(dir, b.only) && !(isTest && b.imports == module+"/examples") {
			report("ban "+b.imports, file, "imports %s: %s", imported, b.why)
		}
	}
	if !within(imported, module) {
		standard := !strings.Contains(strings.Split(imported, "/")[0], ".")
		if !standard && !isTest && !withinAny(dir, freeRooms) && !withinAny(imported, thirdParties[here.dir]) {
			report("third-party", file, "imports %s; of others %s may import %q", imported, here.dir, thirdParties[here.dir])
		}
		return
	}
	target := strings.TrimPrefix(strings.TrimPrefix(imported, module), "/")
	rootModule := !withinAny(here.dir, []string{"kit", "adapters", "bench", "deploy", "test/cluster"})
	if target != "" && (within(target, here.dir) || withinAny(target, here.may) || isTest && (rootModule && withinAny(target, testsMay) || withinAny(target, testsOf[here.dir]))) {
		return
	}
	report("room "+here.dir, file, "imports %s; %s may import %s: %s", target, here.dir, strings.Join(append([]string{"itself"}, here.may...), ", "), here.why)
}

// roomOf finds the room of a folder; of a family such as services/* it is the member.
func roomOf(dir string) (room, bool) {
	if dir == "." {
		return room{dir: ".", why: "the root holds tests of the house only"}, true
	}
	var best room
	for _, r := range rooms {
		if family, ok := strings.CutSuffix(r.dir, "/*"); ok {
			rest, ok := strings.CutPrefix(dir, family+"/")
			if !ok {
				continue
			}
			member, _, _ := strings.Cut(rest, "/")
			r.dir = family + "/" + member
		}
		if within(dir, r.dir) && len(r.dir) > len(best.dir) {
			best = r
		}
	}
	return best, best.dir != ""
}

func within(p, dir string) bool { return p == dir || strings.HasPrefix(p, dir+"/") }

func withinAny(p string, dirs []string) bool {
	return slices.ContainsFunc(dirs, func(dir string) bool { return within(p, dir) })
}

func TestTheHouseKeepsItsRules(t *testing.T) {
	for _, v := range check(os.DirFS(".")) {
		t.Errorf("%s: %s [%s]", v.file, v.msg, v.rule)
	}
}

// TestRulesNameWhatExists: a rule about a folder that is not there guards nothing.
func TestRulesNameWhatExists(t *testing.T) {
	exists := func(dir string) bool {
		_, err := os.Stat(dir)
		return err == nil
	}
	for _, dir := range planned {
		if exists(dir) {
			t.Errorf("%s exists now: strike it from planned", dir)
		}
	}
	var named []string
	for _, r := range rooms {
		named = append(append(named, strings.TrimSuffix(r.dir, "/*")), r.may...)
	}
	for _, b := range bans {
		named = append(named, b.only...)
		if inside, ok := strings.CutPrefix(b.imports, module+"/"); ok {
			named = append(named, inside)
		}
	}
	for dir := range thirdParties {
		named = append(named, dir)
	}
	for _, dir := range named {
		if !exists(dir) && !slices.Contains(planned, dir) {
			t.Errorf("a rule names %s, which neither exists nor is planned", dir)
		}
	}
	var required strings.Builder
	for _, file := range []string{"go.mod", "adapters/go.mod"} {
		data, err := os.ReadFile(file)
		if err != nil {
			t.Fatal(err)
		}
		for line := range strings.Lines(string(data)) {
			if !strings.Contains(line, "// indirect") {
				required.WriteString(line)
			}
		}
	}
	var others []string
	for _, list := range thirdParties {
		others = append(others, list...)
	}
	for _, b := range bans {
		if strings.Contains(b.imports, ".") && !within(b.imports, module) {
			others = append(others, b.imports)
		}
	}
	for _, other := range others {
		// golang.org/x/sys/cpu is a package of golang.org/x/sys.
		known := strings.Contains(required.String(), other) || strings.Contains(required.String(), path.Dir(other)+" v")
		if isPlanned := slices.Contains(plannedModules, other); known == isPlanned {
			t.Errorf("a rule names %s: a go.mod requires it is %v, it is planned is %v", other, known, isPlanned)
		}
	}
}

// TestEveryRuleFires breaks each rule once and expects just that rule to say so.
func TestEveryRuleFires(t *testing.T) {
	source := func(pkg string, imports ...string) string {
		src := "// Package " + pkg + " breaks a rule.\npackage " + pkg + "\n"
		for _, i := range imports {
			src += "import _ " + strconv.Quote(i) + "\n"
		}
		return src
	}
	type fixture struct{ rule, file, src string }
	var fixtures []fixture
	for _, r := range rooms {
		// An import that no room but the root allows: another service's, or the command line's.
		stranger := module + "/internal/cli"
		switch r.dir {
		case "cmd/dougong":
			stranger = module + "/internal/app"
		case "internal/cli", "bench", "test":
			stranger = module + "/cmd/dougong"
		}
		dir := strings.Replace(r.dir, "*", "order", 1)
		fixtures = append(fixtures, fixture{"room " + dir, dir + "/x.go", source("x", stranger)})
	}
	fixtures = append(fixtures,
		fixture{"room services/order", "services/order/x.go", source("x", module+"/services/inference")},
		fixture{"room services/order", "services/order/x.go", source("x", module+"/adapters/prom")},
		fixture{"room services/order", "services/order/x_test.go", source("x", module+"/services/inference/tree")},
		fixture{"room adapters/redis", "adapters/redis/x.go", source("x", module+"/services/order")},
		fixture{"room adapters/redis", "adapters/redis/x.go", source("x", module+"/adapters/prom")},
		fixture{"room cmd/dougong", "cmd/dougong/x.go", source("x", module+"/control/operator")},
		fixture{"no-room", "util/x.go", source("util")},
		fixture{"no-go.work", "go.work", "go 1.26\n"},
		fixture{"kit-alone", "kit/go.mod", "module x\nrequire y v1.0.0\n"},
		fixture{"third-party", "kit/breaker/x.go", source("x", "golang.org/x/sync/errgroup")},
		fixture{"third-party", "services/order/x.go", source("x", "github.com/redis/go-redis/v9")},
		fixture{"third-party", "internal/httpserver/x.go", source("x", "go.opentelemetry.io/otel")},
		fixture{"third-party", "adapters/nats/x.go", source("x", "github.com/nats-io/nats-server/v2/server")},
		fixture{"room kit", "kit/x.go", source("x", module)},
		fixture{"room kit", "kit/x_test.go", source("x", module+"/internal/config")},
		fixture{"room adapters/redis", "adapters/redis/x_test.go", source("x", module+"/examples/models")},
		fixture{"modules-go-one-way", "adapters/go.mod", "module x\nrequire " + module + " v0.1.0\n"},
		fixture{"package-comment", "kit/breaker/x.go", "package x\n"},
		fixture{"no-init", "services/order/x.go", source("x") + "func init() {}\n"},
		fixture{"no-init", "services/order/x.pb.go", source("x") + "func init() {}\n"},
		fixture{"no-init", "api/order/x.go", source("x") + "func init() {}\n"},
		fixture{"no-finalizer", "services/order/x.go", source("x", "runtime") + "func f(p *int) { runtime.SetFinalizer(p, nil) }\n"},
		fixture{"small-main", "cmd/dougong/main.go", source("main") + strings.Repeat("\n", maxMainLines)},
		fixture{"readable", "kit/x.go", "package"},
	)
	for _, b := range bans {
		place := "services/order/x.go"
		if within(b.imports, module+"/internal/app") || within(b.imports, module+"/examples") {
			place = "prove/x.go"
		}
		fixtures = append(fixtures, fixture{"ban " + b.imports, place, source("x", b.imports+"/v9")})
		if b.imports == "C" || b.imports == "plugin" {
			fixtures[len(fixtures)-1].src = source("x", b.imports)
		}
	}
	for _, f := range fixtures {
		tree := fstest.MapFS{f.file: {Data: []byte(f.src)}}
		fired := map[string]bool{}
		for _, v := range check(tree) {
			fired[v.rule] = true
		}
		if !fired[f.rule] {
			t.Errorf("%s with\n%s\ndoes not break rule %q, but %v", f.file, f.src, f.rule, slices.Collect(maps.Keys(fired)))
		}
		room := "room " + strings.Join(strings.Split(path.Dir(f.file), "/")[:min(2, strings.Count(f.file, "/"))], "/")
		for other := range fired {
			if other != f.rule && other != room && other != "third-party" && !strings.HasPrefix(other, "ban "+module) {
				t.Errorf("%s breaks rule %q as well as %q", f.file, other, f.rule)
			}
		}
	}
	// And what keeps the rules passes.
	for file, src := range map[string]string{
		"services/order/x.go":      source("x", module+"/kit/saga", module+"/services/order/stock", module+"/api/order"),
		"services/order/x_test.go": source("x", module+"/internal/config", module+"/examples/models"),
		"internal/app/x.go":        source("x", module+"/adapters/prom", module+"/services/order", module+"/examples/models"),
		"adapters/prom/x.go":       source("x", "github.com/prometheus/client_golang/prometheus", module+"/kit/limit"),
		"kit/saga/x.go":            source("x", "database/sql", module+"/kit/outbox"),
		"api/order/x.pb.go":        source("x", "google.golang.org/protobuf/proto") + "func init() {}\n",
	} {
		if got := check(fstest.MapFS{file: {Data: []byte(src)}}); len(got) != 0 {
			t.Errorf("%s: %v", file, got)
		}
	}
}
