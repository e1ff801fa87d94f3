// Package api holds what is spoken between processes: protobuf sources and the Go code made of them, a folder for each
// protocol. There is no logic here.
//
// The sources carry the rules for their fields (protovalidate); internal/grpcserver holds every request against them.
// After a change:
//
//	go generate ./api/...
package api

//go:generate go run ../scripts/protogen .
