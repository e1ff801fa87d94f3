package grpcdesc

import (
	"fmt"
	"io"
	"os"

	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/types/descriptorpb"
)

// maxSet bounds a descriptor set, in bytes. All of a large company's API in one file is a tenth of it.
const maxSet = 64 << 20

// FromFile finds a method in a descriptor set, as protoc --descriptor_set_out --include_imports and buf build write
// it. method is "pkg.Service/Method", with or without a slash before it, or "pkg.Service.Method".
func FromFile(path string, method string) (*Method, error) {
	f, err := os.Open(path)
	if err != nil {
		return nil, fmt.Errorf("descriptor set: %w", err)
	}
	defer f.Close()
	data, err := io.ReadAll(io.LimitReader(f, maxSet+1))
	if err != nil {
		return nil, fmt.Errorf("descriptor set %s: %w", path, err)
	}
	if len(data) > maxSet {
		return nil, fmt.Errorf("descriptor set %s: has more than %d MiB; make one of the files that the method needs", path, maxSet>>20)
	}
	return fromSet(data, method, "descriptor set "+path)
}

func fromSet(data []byte, method, source string) (*Method, error) {
	const remedy = "write it with protoc --descriptor_set_out --include_imports"
	var set descriptorpb.FileDescriptorSet
	if err := proto.Unmarshal(data, &set); err != nil {
		return nil, fmt.Errorf("%s: no FileDescriptorSet: %w; %s", source, tidied{err}, remedy)
	}
	if len(set.File) == 0 {
		return nil, fmt.Errorf("%s: describes no file; %s", source, remedy)
	}
	return resolve(set.File, method, source, remedy)
}
