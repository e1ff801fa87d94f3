// Command protogen makes Go code of every protobuf source below a folder, beside its source. It needs Go alone: it
// compiles the sources itself, takes the files that they import from the modules that hold them, and runs the
// generators at the versions that are written here and in go.mod. With -check it writes nothing, and fails if what is
// there is not, byte for byte, what it would write.
package main

import (
	"bytes"
	"context"
	"errors"
	"flag"
	"fmt"
	"io/fs"
	"maps"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"

	"github.com/bufbuild/protocompile"
	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/reflect/protodesc"
	"google.golang.org/protobuf/reflect/protoreflect"
	"google.golang.org/protobuf/reflect/protoregistry"
	"google.golang.org/protobuf/types/descriptorpb"
	"google.golang.org/protobuf/types/pluginpb"

	_ "buf.build/gen/go/bufbuild/protovalidate/protocolbuffers/go/buf/validate" // is there to be imported
)

// plugins are what go run gets. Without a version, go.mod's is meant.
var plugins = []string{
	"google.golang.org/protobuf/cmd/protoc-gen-go",
	"google.golang.org/grpc/cmd/protoc-gen-go-grpc@v1.6.2",
}

func main() {
	check := flag.Bool("check", false, "write nothing; fail if the generated code is not that of its sources")
	flag.Usage = func() { fmt.Fprintln(os.Stderr, "usage: protogen [-check] FOLDER") }
	flag.Parse()
	if flag.NArg() != 1 {
		flag.Usage()
		os.Exit(2)
	}
	dir := flag.Arg(0)
	files, err := generate(context.Background(), dir)
	if err == nil {
		if *check {
			err = compare(dir, files)
		} else {
			err = write(dir, files)
		}
	}
	if err != nil {
		fmt.Fprintln(os.Stderr, "protogen:", err)
		os.Exit(1)
	}
}

// generate returns the files that should be below dir, by their path from there.
func generate(ctx context.Context, dir string) (map[string]string, error) {
	sources, err := sourcesOf(dir)
	if err != nil {
		return nil, err
	}
	request, err := compile(ctx, dir, sources)
	if err != nil {
		return nil, err
	}
	input, err := proto.Marshal(request)
	if err != nil {
		return nil, err
	}
	files := make(map[string]string)
	for _, plugin := range plugins {
		made, err := run(ctx, plugin, input)
		if err != nil {
			return nil, fmt.Errorf("%s: %w", plugin, err)
		}
		for _, f := range made {
			files[f.GetName()] = f.GetContent()
		}
	}
	return files, nil
}

func write(dir string, files map[string]string) error {
	for name, content := range files {
		if err := os.WriteFile(filepath.Join(dir, filepath.FromSlash(name)), []byte(content), 0o644); err != nil {
			return err
		}
	}
	return nil
}

// compare returns every file that differs, is missing, or has no source any more.
func compare(dir string, files map[string]string) error {
	var faults []error
	for _, name := range slices.Sorted(maps.Keys(files)) {
		there, err := os.ReadFile(filepath.Join(dir, filepath.FromSlash(name)))
		switch {
		case errors.Is(err, fs.ErrNotExist):
			faults = append(faults, fmt.Errorf("%s: missing", name))
		case err != nil:
			faults = append(faults, err)
		case string(there) != files[name]:
			faults = append(faults, fmt.Errorf("%s: not what its source gives", name))
		}
	}
	there, err := filesBelow(dir, ".pb.go")
	faults = append(faults, err)
	for _, name := range there {
		if _, made := files[name]; !made {
			faults = append(faults, fmt.Errorf("%s: has no source", name))
		}
	}
	if err := errors.Join(faults...); err != nil {
		return fmt.Errorf("%w\nrun go generate ./api/..., or delete what has no source", err)
	}
	return nil
}

// sourcesOf lists the sources below dir, as they import each other: by their path from dir.
func sourcesOf(dir string) (sources []string, err error) {
	sources, err = filesBelow(dir, ".proto")
	if err == nil && len(sources) == 0 {
		err = errors.New("no .proto file below " + dir)
	}
	return sources, err
}

func filesBelow(dir, suffix string) (files []string, err error) {
	err = fs.WalkDir(os.DirFS(dir), ".", func(file string, entry fs.DirEntry, err error) error {
		if err == nil && !entry.IsDir() && strings.HasSuffix(file, suffix) {
			files = append(files, file)
		}
		return err
	})
	return files, err
}

// compile makes the request that every plugin gets. Options that are extensions stay as they are on the wire.
func compile(ctx context.Context, dir string, sources []string) (*pluginpb.CodeGeneratorRequest, error) {
	compiler := protocompile.Compiler{
		Resolver: protocompile.CompositeResolver{
			&protocompile.SourceResolver{ImportPaths: []string{dir}},
			protocompile.ResolverFunc(linkedIn),
		},
		SourceInfoMode: protocompile.SourceInfoStandard,
	}
	files, err := compiler.Compile(ctx, sources...)
	if err != nil {
		return nil, err
	}
	request := &pluginpb.CodeGeneratorRequest{FileToGenerate: sources, Parameter: proto.String("paths=source_relative")}
	var add func(protoreflect.FileDescriptor)
	add = func(f protoreflect.FileDescriptor) {
		if slices.ContainsFunc(request.ProtoFile, func(p *descriptorpb.FileDescriptorProto) bool { return p.GetName() == f.Path() }) {
			return
		}
		for i := range f.Imports().Len() {
			add(f.Imports().Get(i).FileDescriptor)
		}
		request.ProtoFile = append(request.ProtoFile, protodesc.ToFileDescriptorProto(f))
	}
	for _, f := range files {
		add(f)
	}
	return request, nil
}

// linkedIn finds an imported file among the descriptors of this program.
func linkedIn(path string) (protocompile.SearchResult, error) {
	f, err := protoregistry.GlobalFiles.FindFileByPath(path)
	if err != nil {
		return protocompile.SearchResult{}, err
	}
	return protocompile.SearchResult{Desc: f}, nil
}

func run(ctx context.Context, plugin string, input []byte) ([]*pluginpb.CodeGeneratorResponse_File, error) {
	cmd := exec.CommandContext(ctx, "go", "run", plugin)
	cmd.Stdin, cmd.Stderr = bytes.NewReader(input), os.Stderr
	output, err := cmd.Output()
	if err != nil {
		return nil, err
	}
	var response pluginpb.CodeGeneratorResponse
	if err := proto.Unmarshal(output, &response); err != nil {
		return nil, err
	}
	if response.Error != nil {
		return nil, errors.New(response.GetError())
	}
	return response.File, nil
}
