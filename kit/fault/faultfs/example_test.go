//go:build !dougong_nofault

package faultfs_test

import (
	"errors"
	"fmt"
	"io/fs"
	"syscall"
	"testing/fstest"
	"time"

	"github.com/dougong-io/dougong/kit/fault"
	"github.com/dougong-io/dougong/kit/fault/faultfs"
)

var (
	modelOpen  = fault.Def{Name: "models.open", Doc: "A file of a model is opened.", Attrs: []string{"name"}, Effects: fault.Fail | fault.Mangle}
	cacheWrite = fault.Def{Name: "cache.write", Doc: "The cache is written.", Attrs: []string{"name"}, Effects: fault.Bytes}
)

// Four bytes read as zeros, whoever reads the file; the file itself stays as it is.
func ExampleFS() {
	set, err := fault.New(fault.DefaultConfig())
	if err != nil {
		panic(err)
	}
	defer set.Close()
	models := faultfs.FS(fstest.MapFS{"loan.json": {Data: []byte("{\"trees\": [1, 2, 3]}")}}, faultfs.Points{Open: set.Point(modelOpen)})

	err = set.Put(fault.Admin, fault.Rule{
		ID: "bad-sector", Point: "models.open", Where: map[string]string{"name": "*.json"}, For: time.Minute,
		Corrupt: &fault.Corrupt{Offset: new(int64(12)), Length: 4, Mode: fault.Zeroed},
	})
	if err != nil {
		panic(err)
	}
	model, err := fs.ReadFile(models, "loan.json")
	fmt.Printf("%q %v\n", model, err)
	// Output: "{\"trees\": [1\x00\x00\x00\x00 3]}" <nil>
}

func ExampleDisk() {
	set, err := fault.New(fault.DefaultConfig())
	if err != nil {
		panic(err)
	}
	defer set.Close()
	disk := faultfs.NewDisk(faultfs.Points{Write: set.Point(cacheWrite)})

	err = set.Put(fault.Admin, fault.Rule{ID: "full", Point: "cache.*", For: time.Minute, Error: &fault.Failure{Cause: "no_space"}})
	if err != nil {
		panic(err)
	}
	f, err := disk.CreateTemp("", "cache")
	if err != nil {
		panic(err)
	}
	defer func() { _ = f.Close(); _ = disk.Remove(f.Name()) }()
	_, err = f.Write([]byte("{}"))
	fmt.Println(errors.Is(err, syscall.ENOSPC), errors.Is(err, fault.ErrInjected))
	// Output: true true
}
