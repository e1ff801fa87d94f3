package main

import (
	"errors"
	"io"
	"math"
	"net/http"
	"strconv"
	"time"

	"github.com/dougong-io/dougong/kit/limit"
)

// What the server under overload does. It has two Ps, so that one is free for what is refused while the only slot burns;
// and a queue of one, since each place in it lets an accepted request wait for as long as a whole one takes.
const (
	burnt       = 2 * time.Millisecond // of CPU a request
	serverSlots = serverProcs - 1
	serverQueue = 1
	serverProcs = 2
	patience    = 5 * time.Second
	mostBody    = 64 << 10
	retryAfter  = "Retry-After"
)

// serve is a server behind kit/limit in the way of services/inference: admission comes before the body is read, the slot
// after it.
func serve(addr string) error {
	config := limit.DefaultConfig()
	config.Slots, config.Queue = serverSlots, serverQueue
	config.Arriving = 16
	l, err := limit.New(config)
	if err != nil {
		return err
	}
	server := &http.Server{Addr: addr, ReadHeaderTimeout: 10 * time.Second, Handler: http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		var rejection *limit.RejectedError
		switch err := answer(l, r); {
		case errors.As(err, &rejection):
			w.Header().Set(retryAfter, strconv.Itoa(int(math.Ceil(rejection.RetryAfter.Seconds()))))
			w.WriteHeader(http.StatusServiceUnavailable)
		case err != nil:
			w.WriteHeader(http.StatusBadRequest)
		default:
			w.Write([]byte("ok\n"))
		}
	})}
	return server.ListenAndServe()
}

func answer(l *limit.Limit, r *http.Request) error {
	permit, err := l.Admit(time.Now().Add(patience))
	if err != nil {
		return err
	}
	defer permit.Done()
	if _, err := io.Copy(io.Discard, io.LimitReader(r.Body, mostBody)); err != nil {
		return err
	}
	if err := permit.Start(r.Context()); err != nil {
		return err
	}
	burn(burnt)
	return nil
}
