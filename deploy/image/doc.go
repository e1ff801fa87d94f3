// Command image packs the static binary into a container image, without a container engine: an OCI layout in a tar
// file that containerd, Docker and Podman load, with a bill of materials (SPDX) and a provenance (in-toto, SLSA)
// beside it and inside it.
//
// The same commit gives the same bytes, wherever and whenever it is built with the same version of Go: times are the
// commit's or SOURCE_DATE_EPOCH, and nothing of the machine goes in. The image holds one file and starts it as a user
// without a name. Not for images that need a shell, a C library or files of a distribution.
//
//	go run . -o ../../bin/dougong-image.tar           # builds the binary, then the image
//	go run . -check -o ../../bin/dougong-image.tar    # judges it; prints digest and sizes
package main
