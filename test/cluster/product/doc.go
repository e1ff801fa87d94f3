// Package product has the tests of Dougong's image and manifests on a real Kubernetes.
package product
