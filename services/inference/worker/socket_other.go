//go:build !unix

package worker

import "errors"

type socket int

var errNoUnix = errors.New("workers need a unix")

func (socket) Read([]byte) (int, error)  { return 0, errNoUnix }
func (socket) Write([]byte) (int, error) { return 0, errNoUnix }
func (socket) own() error                { return errNoUnix }
