// Package faultfs has fault points where files are read and written: an [fs.FS] that may fail and whose files may be
// damaged, a [Disk] whose writes may be short, without space, lost or not synced, and streams.
//
// Use it where a program reads what somebody else wrote, and where it must know that what it wrote is there. Do not
// use it for what only a kernel can do: torn sectors, a machine that loses power, memory that is mapped. The caller
// declares the points, so that their names say which files these are:
//
//	var write = fault.Def{Name: "cache.write", Doc: "The cache is written.", Attrs: []string{"name"}, Effects: fault.Bytes}
//	// …
//	disk := faultfs.NewDisk(faultfs.Points{Write: set.Point(write)})
//	err := disk.WriteFile("cache.json", data, 0o600)
//
// A point tells "name", and of a rename "to". Files have no contexts: what hangs does so until its rule ends, as a
// disk does that does not answer.
package faultfs
