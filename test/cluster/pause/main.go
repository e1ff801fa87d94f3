// Command pause is the first container of each pod: it holds the pod's namespaces until it is told to end. Kubernetes'
// own comes from a registry, which the cluster does not reach.
package main

import (
	"os"
	"os/signal"
	"syscall"
)

func main() {
	end := make(chan os.Signal, 1)
	signal.Notify(end, syscall.SIGTERM, syscall.SIGINT)
	<-end
}
